"""Codes to beat: every file gives its pixels back, and the histogram is the entropy it claims."""

import io
import math

import numpy
import pytest
import torch
from PIL import Image

from bfn_core import data
from bfn_core.baselines import images
from bfn_core.data.images import _scikit_learn_file

CROPS = data.cifar10(stand_in=True).test


def decoded(content):
    array = numpy.array(Image.open(io.BytesIO(content)).convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1)


@pytest.mark.parametrize("form", images.FORMATS)
def test_files_hold_every_pixel(form):
    for image in (CROPS[0], CROPS[-1], torch.arange(3 * 256).reshape(3, 16, 16).to(torch.uint8)):
        assert torch.equal(decoded(images.encode(image, form)), image)


@pytest.mark.parametrize("form", images.FORMATS)
def test_a_file_is_counted_to_its_last_byte(form):
    found = images.files(CROPS[:5], form)
    sizes = [8 * len(images.encode(image, form)) / 3072 for image in CROPS[:5]]
    assert found.mean == pytest.approx(sum(sizes) / 5) and found.count == 5
    spread = torch.tensor(sizes).std() / math.sqrt(5)
    assert found.standard_error == pytest.approx(float(spread), rel=1e-5)
    assert images.sheet(CROPS[:1], form) == pytest.approx(sizes[0])
    # Neighbouring crops overlap, and there is one header: together they are cheaper than apart.
    assert images.sheet(CROPS[:5], form) < found.mean


def test_the_sheet_holds_all_images():
    for count in (1, 6, 7, 12):
        large = images.arrange(CROPS[:count])
        assert large.numel() == count * 3072
        columns = large.shape[2] // 32
        for k in range(count):
            top, left = 32 * (k // columns), 32 * (k % columns)
            assert torch.equal(large[:, top : top + 32, left : left + 32], CROPS[k])
    assert images.arrange(CROPS[:12]).shape == (3, 96, 128)


def test_noise_cannot_be_compressed():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (40, 3, 32, 32), generator=generator).to(torch.uint8)
    assert images.uniform() == 8.0
    assert images.histogram(noise, noise).mean == pytest.approx(8.0, abs=0.02)
    for form in images.FORMATS:
        assert 7.99 < images.sheet(noise, form) < 8.1


def test_the_histogram_knows_channels_but_not_places():
    """Red is 0 or 1 by a fair coin, green is always 7, blue one of eight: (1 + 0 + 3) / 3 bits."""
    generator = torch.Generator().manual_seed(0)
    image = torch.full((400, 3, 32, 32), 7, dtype=torch.uint8)
    image[:, 0] = torch.randint(2, (400, 32, 32), generator=generator)
    image[:, 2] = torch.randint(8, (400, 32, 32), generator=generator)
    found = images.histogram(image[:300], image[300:])
    assert found.mean == pytest.approx(4 / 3, abs=0.005) and found.count == 100
    unseen = images.histogram(image, torch.full((2, 3, 32, 32), 200, dtype=torch.uint8))
    assert unseen.mean == pytest.approx(math.log2(400 * 1024 + 256), abs=1e-4)
    sorted_up = image[300:].flatten(2).sort(-1).values.reshape(100, 3, 32, 32)
    assert images.histogram(image[:300], sorted_up).mean == pytest.approx(found.mean)


def test_what_is_not_an_image_is_refused():
    for bad in (CROPS.float(), CROPS[0], CROPS[:0], CROPS[:, :2], None):
        with pytest.raises(ValueError, match=r"uint8 \(N, C, H, W\)"):
            images.files(bad, "PNG")
        with pytest.raises(ValueError, match=r"uint8 \(N, C, H, W\)"):
            images.histogram(CROPS, bad)
    with pytest.raises(ValueError, match="1 channels, but 3"):
        images.histogram(CROPS, CROPS[:, :1])
    with pytest.raises(ValueError, match="one of PNG, WebP, got 'JPEG'"):
        images.sheet(CROPS, "JPEG")


def test_photographs_are_cut_into_tiles_without_gaps():
    """Put together again they are the middle of the photograph, which was only made smaller."""
    tiles = data.photographs(5)
    assert tiles.shape == (16, 3, 32, 32) and tiles.dtype == torch.uint8
    for start, name in ((0, "china"), (8, "flower")):
        middle = tiles[start : start + 8].unflatten(0, (2, 4)).permute(2, 0, 3, 1, 4)
        middle = middle.reshape(3, 64, 128)
        top = (86 - 64) // 2  # 427 lines are 86 of five, the last one short
        with Image.open(_scikit_learn_file(f"images/{name}.jpg")) as file:
            whole = torch.from_numpy(numpy.array(file)).permute(2, 0, 1).double()
        means = whole[:, 5 * top : 5 * (top + 64), : 5 * 128].unflatten(1, (64, 5))
        means = means.unflatten(3, (128, 5)).mean((2, 4))
        assert float((means - middle).abs().max()) <= 0.6
    for shrink in (0, -1, 14):
        with pytest.raises(ValueError, match=f"shrink must be between 1 and 13, got {shrink}"):
            data.photographs(shrink)
