"""Training that is killed resumes; nothing that is read executes code; nothing connects to a network."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PREAMBLE = """
import sys
from pathlib import Path
import numpy as np
import torch
from equiact import Transitions, TranslationConfig, load_encoder, train_encoder
from equiact.representations.learning.config import OptimConfig

torch.set_num_threads(1)
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
frames = rng.integers(0, 256, (65, 16, 16, 3), np.uint8)
index = np.arange(64)
data = Transitions(frames, index, index + 1, rng.normal(size=(64, 2)).astype(np.float32), "R2")
"""

TRAINING = (
    PREAMBLE
    + """
from equiact.representations.encoders.registry import make_encoder, make_learner
from equiact.representations.learning.training import train_learner

config = TranslationConfig(optim=OptimConfig(steps=300, lr=1e-3, batch_size=16))
torch.manual_seed(0)
learner = make_learner(make_encoder(config, (16, 16, 3), "R2"), data)
train_learner(learner, seed=0, checkpoint=folder / "training.checkpoint", checkpoint_seconds=0.02)
learner.network.eval().save(folder / "encoder")
"""
)

READING = (
    PREAMBLE
    + """
from equiact import *
from equiact.agents.policies.behavior_cloning import BCPolicy
from equiact.envs.data.minari_dataset import load_transitions, save_transitions
from equiact.representations.densities.registry import make_density
from equiact.representations.densities.density import Density

FORBIDDEN = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event in FORBIDDEN | NETWORK else None)

encoder = train_encoder(data, TranslationConfig(optim=OptimConfig(steps=2, batch_size=16)), seed=0)
encoder.save(folder / "encoder")
BCPolicy((16, 16, 3), 2, 1, 0.1).save(folder / "policy")
save_transitions(data, folder / "data")
readers = {"encoder": load_encoder, "policy": BCPolicy.load, "data": load_transitions}
accepted = refused = 0
for name, read in readers.items():
    read(folder / name)
    files = sorted(path for path in (folder / name).rglob("*") if path.is_file() and path.suffix != ".h5")
    for _ in range(60):
        path = files[rng.integers(len(files))]
        original = path.read_bytes()
        changed = bytearray(original)
        for position in rng.integers(len(changed), size=rng.integers(1, 4)):
            changed[position] = rng.integers(256)
        path.write_bytes(bytes(changed[: rng.integers(len(changed))] if rng.random() < 0.2 else changed))
        try:
            read(folder / name)
            accepted += bytes(changed) != original
        except ValueError:
            refused += 1
        path.write_bytes(original)
    read(folder / name)
print(sorted(set(seen)), accepted, refused)
"""
)


def start(code: str, *arguments: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=arguments[0])


def finish(process: "subprocess.Popen[str]") -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def weights(folder: Path) -> str:
    """Return the name of the weights of the encoder in a folder, which has their hash."""
    (path,) = (folder / "encoder").glob("weights-*.safetensors")
    return path.name


def kill_after_a_checkpoint(folder: Path) -> None:
    """Start a training, and kill it once it has written a checkpoint."""
    checkpoint, process = folder / "training.checkpoint", start(TRAINING, folder)
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"


def test_training_that_was_killed_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    finish(start(TRAINING, whole))
    for _ in range(2):
        kill_after_a_checkpoint(killed)
    finish(start(TRAINING, killed))
    assert weights(killed) == weights(whole)


def test_what_is_read_executes_nothing_and_connects_to_nothing(tmp_path: Path) -> None:
    events, accepted, refused = finish(start(READING, tmp_path)).rsplit(maxsplit=2)
    assert events == "[]"
    assert int(refused) > 100, "most of the altered files are refused"
    assert int(accepted) < 60
