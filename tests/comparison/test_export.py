"""`xferlab export`: the graph answers as `predict` does, on what the documentation's own lines read."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import xferlab as xl
from xferlab.comparison import export as exporting
from xferlab.comparison import modelfile
from xferlab.comparison.prediction import predict
from xferlab.errors import DataError

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'xferlab[export]'")
pytest.importorskip("onnxscript", reason="pip install 'xferlab[export]'")
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


@pytest.fixture(scope="module", params=["small_net", "depth_probe"])
def exported(request, tmp_path_factory):
    """A model of three classes, calibrated, with its card, and its graph."""
    place = tmp_path_factory.mktemp("export")
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 3
    pictures = torch.randint(0, 120, (24, 3, 28, 28), generator=draw, dtype=torch.uint8)
    pictures[torch.arange(24), labels] += 100
    source = xl.Domain(pictures, labels, ("alpha", "beta", "gamma"), name="made", augmentation="any_way_up")
    model = xl.Classifier(xl.encoder("lenet"), source.classes)
    xl.recipes[request.param].fit(model, source, steps=3, progress_bar=False)
    known = dict(
        encoder="lenet", size=None, recipe=request.param, pixels=28, channels=3, source="made", temperature=2.0
    )
    if request.param == "depth_probe":
        assert bool(model.encoder.body.symmetric)
    with torch.no_grad():
        model.head.weight /= 2.0
    modelfile.save(place / "report.safetensors", model, version="1", use="not for clinical use", **known)
    (place / "report.md").write_text("# Model card\n")
    exporting.export(place / "report.safetensors", place / "model.onnx", say=lambda line: None)
    return place, model


def test_the_graph_answers_as_predict_does(exported):
    """Preprocessing left out, views not averaged, a batch size baked in."""
    place, model = exported
    pictures = torch.randint(0, 256, (100, 3, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    session = onnxruntime.InferenceSession(str(place / "model.onnx"))
    (found,) = session.run(None, {"pictures": pictures.numpy()})
    expected = xl.predict(model, xl.Domain(pictures, None, model.classes))
    assert np.abs(found - expected.numpy()).max() < 1e-4
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["alpha", "beta", "gamma"] and float(told["temperature"]) == 2.0
    assert told["card"] == "# Model card\n" and told["use"] == "not for clinical use"


def test_the_page_s_lines_give_what_predict_writes(exported, monkeypatch, capsys):
    """Another padding, scale or order of channels on the page than in `predict`."""
    place, _ = exported
    (place / "pictures").mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    for name in ("pictures/cell.png", "cell.png"):
        Image.fromarray(noise).save(place / name)
    predict(place / "report.safetensors", str(place / "pictures"), place / "preds.csv", say=lambda line: None)
    (row,) = csv.DictReader((place / "preds.csv").open())
    monkeypatch.chdir(place)
    seen: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1], seen)
    assert capsys.readouterr().out.split()[0] == row["predicted"]
    for name, value in zip(seen["classes"], seen["probabilities"][0], strict=True):
        assert abs(float(row[f"p_{name}"]) - value) < 1e-4


def test_a_graph_that_answers_otherwise_is_not_written(exported, monkeypatch):
    place, _ = exported
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(DataError, match="apart from PyTorch"):
        exporting.export(place / "report.safetensors", place / "other.onnx", say=lambda line: None)
    assert not (place / "other.onnx").exists()
