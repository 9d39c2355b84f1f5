import pytest
import torch

from unmask.errors import RecipeError
from unmask.space.devices import find_device, on_device


def test_names_of_devices():
    assert find_device("cpu") == torch.device("cpu")
    expected = torch.accelerator.current_accelerator(check_available=True)
    assert find_device() == (expected or torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu 3", "meta", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(RecipeError, match=rf"--device {name}: expected auto or.*cpu.*unmask info"):
        find_device(name)


def test_a_worker_has_its_own_default():
    with on_device(torch.device("cuda", 3)):
        assert find_device() == torch.device("cuda", 3)
        assert find_device("cuda") == torch.device("cuda", 3)
        assert find_device("cpu").type == "cpu"
    assert find_device().type != "cuda" or find_device().index != 3
