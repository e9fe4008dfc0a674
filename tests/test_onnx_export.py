"""Encoders as ONNX graphs: they compute what torch computes, say what they are, and overwrite nothing of others."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies.policy_loading import resolve_policy
from equiact.envs.storage.artifacts import ArtifactError, read_card
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.agent_objects import AgentObjectsEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import Encoder, ObservationError
from equiact.representations.encoders.harmonic_encoder import HarmonicConfig, HarmonicEncoder
from equiact.representations.encoders.onnx_export import OnnxExportError, export_onnx, read_onnx_card
from equiact.representations.encoders.pose_set_encoder import PoseSetConfig, PoseSetEncoder
from equiact.scripts.commands.export import Export
from torch import Tensor

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

SHAPE = (32, 32, 3)


def make_encoder(kind: str) -> Encoder:
    torch.manual_seed(0)
    encoder: Encoder = {
        "agent-object": lambda: AgentObjectEncoder(SHAPE, "R2"),
        "agent-objects": lambda: AgentObjectsEncoder(SHAPE, "R2"),
        "any shape": lambda: AgentObjectEncoder(SHAPE, "R2", AgentObjectConfig(object_shape="any")),
        "class-pose": lambda: ClassPoseEncoder(SHAPE, "SO3", ClassPoseConfig(backbone="strided")),
        "pose-set": lambda: PoseSetEncoder(SHAPE, "SO3", PoseSetConfig(backbone="strided", num_poses=3)),
        "harmonics": lambda: HarmonicEncoder(SHAPE, "SO2", HarmonicConfig(backbone="strided")),
    }[kind]()
    with torch.no_grad():  # batch statistics other than those they start with
        encoder.train().latents(torch.rand(16, 3, 32, 32))
    return encoder.eval()


def random_images(count: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """An encoder's folder, its graph and what the command printed."""
    folder = tmp_path_factory.mktemp("onnx")
    make_encoder("agent-object").save(folder / "encoder")
    result = Export(encoder=folder / "encoder", output=folder / "encoder.onnx").run()
    return folder / "encoder", folder / "encoder.onnx", result


def test_the_command_writes_a_graph_that_agrees(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    """For any size of a batch, by the names of the latents."""
    folder, file, result = exported
    assert result["largest_difference"].keys() == {"agent", "object"} and result["images_compared"] == 17
    assert max(result["largest_difference"].values()) < 1e-5
    assert result["size_bytes"] == file.stat().st_size
    session = onnxruntime.InferenceSession(str(file))
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [32, 32, 3])
    for count in (1, 2, 33):
        images = random_images(count)
        for name, latent in Encoder.load(folder).encode(images).items():
            np.testing.assert_allclose(session.run([name], {"images": images})[0], latent, atol=1e-5)


def test_the_metadata_say_what_the_encoder_is(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, file, _ = exported
    saved, card = read_card(folder, "encoder"), read_onnx_card(file)
    assert card is not None
    assert {key: card[key] for key in ("encoder", "group", "config", "input")} == {
        key: saved[key] for key in ("encoder", "group", "config", "input")
    }
    assert card["weights_sha256"] == saved["weights"]["sha256"]


def test_an_earlier_export_is_replaced_and_nothing_else(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, file, _ = exported
    before = file.read_bytes()
    Export(encoder=folder, output=file).run()
    assert file.read_bytes() == before
    other = file.with_name("theirs.onnx")
    graph = onnx.load(file)
    del graph.metadata_props[:]
    onnx.save(graph, other)
    content = other.read_bytes()
    for foreign in (other, file.with_name("notes.txt"), file.parent):
        if foreign.suffix == ".txt":
            foreign.write_text("mine")
        with pytest.raises(ArtifactError, match="expected a new file or one that may be replaced"):
            Export(encoder=folder, output=foreign).run()
    assert other.read_bytes() == content and file.with_name("notes.txt").read_text() == "mine"


def test_a_graph_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder("agent-object")
    encode = AgentObjectEncoder.encode
    shifted = lambda self, images: {k: v + 0.5 for k, v in encode(self, images).items()}  # noqa: E731
    monkeypatch.setattr(AgentObjectEncoder, "encode", shifted)
    with pytest.raises(OnnxExportError, match=r"difference of 0\.5 in 'agent', above 0\.0001; nothing was written"):
        export_onnx(encoder, tmp_path / "encoder.onnx")
    assert not (tmp_path / "encoder.onnx").exists()


def test_an_encoder_without_a_counterpart_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def latents(self: AgentObjectEncoder, images: Tensor) -> dict[str, Tensor]:
        return {"agent": images.mean((2, 3)) if bool(images.mean() > 0.5) else images.amax((2, 3))}

    monkeypatch.setattr(AgentObjectEncoder, "latents", latents)
    with pytest.raises(OnnxExportError, match="expected an encoder whose operations ONNX has, got AgentObjectEncoder"):
        export_onnx(AgentObjectEncoder(SHAPE, "R2"), tmp_path / "encoder.onnx")


def test_images_of_a_data_set_are_compared(exported: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    from equiact.envs.data.collect import collect
    from equiact.envs.data.minari_dataset import save_transitions

    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=2, resolution=SHAPE[:2])
    save_transitions(collect(worlds, 20, seed=0), tmp_path / "data")
    result = Export(encoder=exported[0], output=tmp_path / "encoder.onnx", data=tmp_path / "data", images=10).run()
    assert result["images_compared"] == 27
    with pytest.raises(ObservationError, match=r"images \(B, 32, 32, 3\) were expected, got \(2, 8, 8, 3\)"):
        export_onnx(Encoder.load(exported[0]), tmp_path / "e.onnx", np.zeros((2, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("options", [{"onnx": False}, {"tolerance": 0.0}, {"images": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected --"):
        Export(encoder=tmp_path, output=tmp_path / "encoder.onnx", **options).run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["any shape", "agent-objects", "class-pose", "pose-set", "harmonics"])
@pytest.mark.parametrize("half", [False, True])
def test_encoders_of_objects_are_exported(kind: str, half: bool, tmp_path: Path) -> None:
    encoder = make_encoder(kind)
    encoder = encoder.half() if half else encoder
    result = export_onnx(encoder, tmp_path / "encoder.onnx", random_images(70))
    assert result.images == 87 and max(result.differences.values()) < 1e-5
    assert next(encoder.parameters()).dtype == (torch.float16 if half else torch.float32), "it is not changed"
    assert json.dumps(result.card)


def test_an_exported_encoder_is_no_policy_until_an_output_is_named(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    policy = resolve_policy(f"{exported[1]},action=agent")
    assert policy.predict(random_images(3))[0].shape == (3, 2)
