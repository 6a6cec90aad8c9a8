"""companion.plotting.diagrams: what is drawn is what the module has, and everything lies on the page."""

import pytest
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from torch import nn

from companion.models.small_cnn import SmallCNN, SmallGAPCNN
from companion.plotting import diagrams


def words(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def planes(fig) -> list[Rectangle]:
    return [patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]


def assert_on_the_page(fig) -> None:
    page, renderer = fig.bbox, FigureCanvasAgg(fig).get_renderer()
    for item in [*fig.axes[0].texts, *planes(fig)]:
        box = item.get_window_extent(renderer)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, item


def assert_apart(fig) -> None:
    """No two columns of words overlap."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    boxes = [t.get_window_extent(renderer) for t in fig.axes[0].texts if t.get_va() == "top" and t.get_ha() == "center"]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) <= 2, (a, b)                                     # pixels; lines of one label may touch


def stepped(model, x, y):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss.item()


def test_every_shape_and_count_of_the_small_cnn_is_written():
    drawn = words(diagrams.architecture(SmallCNN(), torch.rand(1, 1, 28, 28)))
    for fact in ("1 × 28 × 28", "8 × 28 × 28\n80 param.", "8 × 14 × 14", "16 × 14 × 14\n1,168 param.",
                 "16 × 7 × 7", "784", "32\n25,120 param.", "10\n330 param."):
        assert fact in drawn
    assert drawn.count("convolution\n+ ReLU") == 2 and drawn.count("max pooling") == 2
    assert {"feature extraction", "mapping to the output"} <= set(drawn)


def test_one_plane_per_feature_map_up_to_16():
    model = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Conv2d(5, 40, 1))
    assert len(planes(diagrams.architecture(model, torch.rand(1, 2, 6, 6)))) == 2 + 5 + 16


def test_sides_of_the_planes_are_in_proportion():
    model = nn.Sequential(nn.MaxPool2d(2))
    wide = [p.get_width() for p in planes(diagrams.architecture(model, torch.rand(1, 1, 20, 10)))]
    tall = [p.get_height() for p in planes(diagrams.architecture(model, torch.rand(1, 1, 20, 10)))]
    assert tall == pytest.approx([diagrams.SIDE, diagrams.SIDE / 2])
    assert wide == pytest.approx([diagrams.SIDE / 2, diagrams.SIDE / 4])


def test_the_planes_are_the_feature_maps_strongest_in_front():
    x = torch.cat([torch.zeros(1, 1, 4, 4), torch.rand(1, 1, 4, 4)], dim=1)
    images = diagrams.architecture(nn.MaxPool2d(2), x).axes[0].images
    front = max(images[:2], key=lambda image: image.zorder)                      # of the input
    torch.testing.assert_close(torch.tensor(front.get_array().data), x[0, 1])


@pytest.mark.parametrize(("model", "shape"), [
    (SmallCNN(), (2, 1, 28, 28)),
    (SmallGAPCNN(), (1, 1, 40, 24)),
    (nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(400, 2))),
     (1, 3, 12, 12)),
    (nn.Sequential(nn.Conv3d(1, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)), (1, 1, 8, 9, 10)),
    (nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(32, 1000)), (1, 2, 10)),
    (nn.Linear(3, 2), (1, 3)),
    (nn.Sequential(*(nn.Conv2d(300, 300, 3, padding=1) for _ in range(12))), (1, 300, 8, 8)),
], ids=["SmallCNN", "SmallGAPCNN", "nested", "volume", "signal", "linear", "deep"])
def test_everything_lies_on_the_page_and_words_do_not_overlap(model, shape):
    fig = diagrams.architecture(model, torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    assert_on_the_page(fig)
    assert_apart(fig)
    assert fig.get_figwidth() == 7.5


def test_the_cycle_carries_the_numbers_of_the_step(generator):
    torch.manual_seed(0)
    model, x, y = SmallCNN(), torch.rand(6, 1, 28, 28, generator=generator), torch.arange(6)
    before = stepped(model, x, y)
    fig = diagrams.training_cycle(model, x, before, 1.234, rate=0.2)
    drawn = " | ".join(words(fig))
    assert f"L = {before:.3f}" in drawn and "L = 1.234" in drawn and "w := w − 0.2 ∂L/∂w" in drawn
    assert "mini-batch of 6 images" in drawn and "26,698 parameters" in drawn
    for layer in (model.features[0][0], model.features[1][0], model.classifier[1], model.classifier[3]):
        length = torch.cat([p.grad.flatten() for p in layer.parameters()]).norm().item()
        assert f"{length:.2g}" in words(fig)
    assert_on_the_page(fig)
    assert_apart(fig)


def test_the_cycle_needs_gradients_and_one_row(generator):
    x = torch.rand(1, 1, 28, 28, generator=generator)
    with pytest.raises(ValueError, match=r"call loss\.backward\(\) first"):
        diagrams.training_cycle(SmallCNN(), x, 2.3, 2.2, rate=0.1)
    deep = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(20)), nn.Flatten(), nn.Linear(784, 10))
    before = stepped(deep, x, torch.tensor([3]))
    with pytest.raises(ValueError, match="23 layers do not fit into one row: use architecture"):
        diagrams.training_cycle(deep, x, before, 2.2, rate=0.1)
