"""Networks as ONNX files, read by onnx itself and run by ONNX Runtime, held against torch."""

import json
import struct

import numpy
import pytest
import torch

from bfn_core.networks import onnx_format
from bfn_core.networks.onnx_graph import written
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.training import shipped

EXACT = {8: 0.5, 16: 2e-3, 32: 1e-4}  # of logits up to 30


def asked(bfn):
    """Beliefs and times as they come up."""
    rng = torch.Generator().manual_seed(0)
    shape = (1, 28, 28) if bfn.flow.classes == 2 else (128,)
    x = torch.randint(bfn.flow.classes, (4, *shape), generator=rng)
    t = torch.tensor([0.0, 0.1, 0.6, 1.0])
    theta = bfn.flow.sample_flow(x, t, rng).probs.float()
    theta[0] = 1 / bfn.flow.classes
    return theta, t


@pytest.mark.parametrize("bits", EXACT)
@pytest.mark.parametrize("name", ["mnist", "mnist_conditional", "text8"])
def test_an_engine_says_what_torch_says(name, bits):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    bfn = shipped(name)
    theta, t = asked(bfn)
    content = written(bfn.network, bits)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    inputs = {"theta": theta.numpy(), "t": t.numpy()}
    label = None
    if name == "mnist_conditional":
        label = torch.tensor([-1, 3, 0, 9])
        inputs["label"] = label.numpy()
    assert [one.name for one in model.graph.input] == list(inputs)
    with torch.no_grad():
        network = bfn.network.eval()
        raw = network(theta, t) if label is None else network(theta, t, label)
    (found,) = onnxruntime.InferenceSession(content).run(["raw"], inputs)
    assert numpy.abs(found - raw.numpy()).max() < EXACT[bits]
    if bits > 8:
        chances = torch.from_numpy(found).softmax(-1)
        assert (chances - raw.softmax(-1)).abs().max() < 1e-3


def test_fewer_bits_take_less_room():
    sizes = [len(written(shipped("text8").network, bits)) for bits in (8, 16, 32)]
    assert 1.9 < sizes[1] / sizes[0] < 2.01 and 1.9 < sizes[2] / sizes[1] < 2.01


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_transformer_reads_lines_of_any_length(positions):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = Transformer(5, 12, layers=2, heads=2, width=8, reach=1, positions=positions)
    for weight in network.parameters():  # zeros would hide what they multiply
        torch.nn.init.normal_(weight, std=0.5)
    session = onnxruntime.InferenceSession(written(network, 32))
    for length in (3, 12):
        theta, t = torch.rand(2, length, 5).softmax(-1), torch.tensor([0.2, 0.9])
        with torch.no_grad():
            raw = network.eval()(theta, t)
        (found,) = session.run(["raw"], {"theta": theta.numpy(), "t": t.numpy()})
        assert numpy.abs(found - raw.numpy()).max() < 1e-4


def test_depthwise_blocks_are_written_too():
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = UNet(1, classes=2, channels=8, multipliers=(1, 2), blocks=1, attention=(1,),
                   depthwise=5)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theta, t = torch.rand(2, 1, 8, 12, 2).softmax(-1), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        raw = network.eval()(theta, t)
    session = onnxruntime.InferenceSession(written(network, 32))
    (found,) = session.run(["raw"], {"theta": theta.numpy(), "t": t.numpy()})
    assert numpy.abs(found - raw.numpy()).max() < 1e-4 * raw.abs().max()


def test_only_what_is_written_down_can_be_written():
    with pytest.raises(ValueError, match="binary pixels"):
        written(UNet(3, outputs=2))
    for more in ({"labels": 2}, {"hints": 1}, {"self_conditioning": True}):
        with pytest.raises(ValueError, match="without labels, hints and self_conditioning"):
            written(Transformer(5, 12, layers=1, heads=2, width=8, **more))
    with pytest.raises(ValueError, match="a Transformer can be written, got Linear"):
        written(torch.nn.Linear(2, 2))
    small = UNet(1, classes=2, channels=8, multipliers=(1, 2, 2), blocks=2, patch=1, attention=(1,))
    with pytest.raises(ValueError, match="8, 16 or 32, got 4"):
        written(small, 4)


def test_numbers_and_texts_are_fields_of_a_protocol_buffer():
    assert onnx_format.whole(0) == b"\0" and onnx_format.whole(300) == b"\xac\x02"
    assert onnx_format.whole(-1) == b"\xff" * 9 + b"\x01"
    assert onnx_format.field(1, 150) == b"\x08\x96\x01"
    assert onnx_format.field(2, "testing") == b"\x12\x07testing"
    assert onnx_format.field(2, 0.5) == b"\x15" + struct.pack("<f", 0.5)


def test_attributes_come_back_from_onnx():
    onnx = pytest.importorskip("onnx")
    given = {"whole": -3, "number": 0.25, "text": "CRD", "sizes": [1, 0, -1]}
    node = onnx.NodeProto.FromString(onnx_format.node("Kind", ["a", ""], ["b"], **given))
    found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert json.dumps({**found, "text": found["text"].decode()}) == json.dumps(given)
    assert (node.op_type, list(node.input), list(node.output)) == ("Kind", ["a", ""], ["b"])
    array = numpy.arange(-3, 3, dtype=numpy.int16).reshape(2, 3)
    back = onnx.TensorProto.FromString(onnx_format.tensor("t", array))
    assert numpy.array_equal(onnx.numpy_helper.to_array(back), array) and back.name == "t"
