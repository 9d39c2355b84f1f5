from unmask.space.random import device_seed, generator


def draw(*address):
    return generator(*address).integers(2**60)


def test_equal_addresses_give_equal_draws():
    assert draw(1, "crop", 5, 2) == draw(1, "crop", 5, 2)


def test_every_part_of_the_address_counts():
    draws = {
        draw(1, "crop", 5, 2),
        draw(2, "crop", 5, 2),
        draw(1, "mask", 5, 2),
        draw(1, "crop", 6, 2),
        draw(1, "crop", 5, 3),
        draw(1, "crop", 5),
    }
    assert len(draws) == 6


def test_device_seed_fits_torch():
    assert 0 <= device_seed(3, "mask", 7) < 2**63
