import pytest
import torch

from unmask.errors import RecipeError
from unmask.models.vit import ViT
from unmask.pixels.backbone import PixelFeatures
from unmask.pixels.memory import Remembered

NETWORKS = {
    "resunet": {"name": "resunet", "width": 4, "depth": 2},
    "vit": {"name": "vit", "patch": 4, "dim": 12, "depth": 1, "heads": 2},
}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("network", NETWORKS)
def test_features_of_a_network_follow_those_of_the_bank(network, ndim):
    crop = (16,) * ndim
    options = {"network": NETWORKS[network], "network_crop": crop, "neighborhood": 2.0}
    both = PixelFeatures(ndim, 1, scales=(1.0, 2.0), **options)
    bank, alone = (
        PixelFeatures(ndim, 1, scales=(1.0, 2.0)),
        PixelFeatures(ndim, 1, scales=(), **options),
    )
    alone.load_state_dict(both.state_dict())
    image = torch.randn(2, 1, *(13 + axis for axis in range(ndim)))
    (found,) = both(image)
    assert found.shape == (2, both.channels[0], *image.shape[2:])
    torch.testing.assert_close(found, torch.cat([bank(image)[0], alone(image)[0]], dim=1))
    assert not any(weight.requires_grad for weight in both.parameters())
    assert isinstance(both.network, ViT) == (network == "vit")


def test_nothing_to_compute_is_refused():
    with pytest.raises(RecipeError, match=r"scales of a filter bank, or a network.*found neither"):
        PixelFeatures(2, 1, scales=())
    with pytest.raises(RecipeError, match="numbers of 1 or more as anisotropy"):
        PixelFeatures(2, 1, anisotropy=(1.0,))


def test_tiles_are_computed_once_and_the_oldest_is_forgotten():
    calls = []

    class Counted(torch.nn.Module):
        def forward(self, image):
            calls.append(1)
            return [image + 1]

    kept = Remembered([Counted()], most=3 * 4 * 64)
    images = [torch.randn(1, 1, 8, 8) for _ in range(4)]
    for image in (images[0], images[0], *images[1:]):
        torch.testing.assert_close(kept(image)[0], image + 1)
    assert len(calls) == 4
    kept(images[0])
    assert len(calls) == 5
