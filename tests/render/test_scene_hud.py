from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.render.scenes import overlay
from landscape.render.scenes.composition import compose
from landscape.render.scenes.hud import epoch_at, last_finite, path_parameter
from landscape.render.scenes.options import SceneOptions

WAY = [(0.0, 0.9), (0.4, 0.5), (0.6, 0.6), (1.2, 0.1)]


def scene_of(surfaces, trajectories=(), animated=False, **options):
    return compose(surfaces, trajectories, SceneOptions(**{"view": "-60,30", **options}), animated=animated)


def test_path_parameter(walk):
    path = replace(walk(WAY), step=np.array([5, 10, 30, 31]))
    assert [path_parameter(path, s) for s in (4, 5, 7.5, 10, 20, 30.5, 31, 99)] == [None, 0, 0.5, 1, 1.5, 2.5, 3, 3]
    assert path_parameter(walk(WAY[:1]), 50) == 0
    with pytest.raises(ValueError, match="path 'run': expected ascending steps"):
        path_parameter(replace(path, step=np.array([0, 5, 4, 6])), 3)


def test_epoch_only_if_runs_agree(walk):
    one, short = walk(WAY), walk(WAY[:2])
    assert epoch_at([one, short], 5) == 0.125
    other = replace(short, epoch=2 * short.epoch)
    assert epoch_at([one, other], 5) is None
    assert epoch_at([one, other], 25) == 0.625, "the other one has ended"
    assert epoch_at([replace(one, epoch=np.full(4, np.nan))], 5) is None


def test_last_finite():
    loss = np.array([2.0, np.nan, 1.0, np.nan])
    assert [last_finite(loss, t) for t in (0, 0.9, 1.0, 1.9, 2.0, 3.0)] == [2, 2, 2, 2, 1, 1]
    assert np.isnan(last_finite(loss[1:], 0.5))


def test_hud_texts(slope, walk):
    late = replace(walk(WAY, "late"), step=np.array([20, 30, 40, 50]), loss=np.array([9.0, 8, 0.001234, 6]))
    scene = scene_of(slope(), [walk(WAY), late], animated=True)
    (hud,) = scene.huds
    assert hud.texts(12.0)[:3] == ["step 12, epoch 0.3", "loss:", "run: 1.67"]
    assert hud.texts(12.0)[3] == "late: –"
    assert hud.texts(42.0)[2:] == ["run: 1", "late: 0.00123"]
    # Without a loss of its own, a path shows that of the surface, labelled as such.
    unknown = replace(walk(WAY), loss=np.full(4, np.nan))
    (hud,) = scene_of(slope(), [walk(WAY), unknown], animated=True).huds
    assert hud.texts(10.0)[1] == "training loss of the surface:"
    assert hud.texts(10.0)[2] == f"run: {10 ** (1 + 2 * 0.4 - 0.5):.3g}"
    assert not scene_of(slope(), [walk(WAY)]).huds, "a still has no head-up display"
    assert not scene_of(slope(), animated=True).huds


@pytest.mark.parametrize(("count", "size"), [(1, (500, 500)), (6, (500, 500)), (6, (420, 600)), (6, (1600, 1200))])
def test_hud_items_keep_positions_inside_panel(slope, walk, count, size):
    losses = [10.0 ** np.linspace(3, -9 - k, 4) for k in range(count)]
    scene = scene_of(slope(), [walk(WAY, f"run {k}", loss) for k, loss in enumerate(losses)], animated=True, size=size)
    (hud,), (panel,) = scene.huds, scene.layout.panels
    with scene.figure.style():
        ax = overlay.canvas(scene.figure)
        texts = hud.draw(ax, panel.left + panel.width / 2, scene.layout.hud_top(panel))
        places = set()
        for step in (0, 7, 15, 30):
            for text, said in zip(texts, hud.texts(step), strict=True):
                text.set_text(said)
            scene.figure.draw_without_rendering()
            boxes = [text.get_window_extent() for text in texts]
            places.add(tuple(round(box.x0) for box in boxes))
            for k, box in enumerate(boxes):
                assert box.x0 >= panel.left - 1
                assert box.x1 <= panel.left + panel.width + 1
                assert box.y0 >= panel.bottom + panel.height - 1
                assert not any(box.overlaps(other) for other in boxes[k + 1 :])
    assert len(places) <= 3, "equal up to the side bearing of the first digit"
    spread = np.ptp(np.array(list(places)), axis=0)
    assert spread.max() <= 2
