"""Make a policy from text: a model of another library, a folder of ours, an ONNX file, or a function."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ...envs.data.policy import Policy, as_policy
from ...envs.storage.json_cards import CARD
from .lerobot_policy import is_lerobot_folder, load_lerobot
from .onnx_policy import OnnxPolicy
from .policy_spec import PolicyLoadError, PolicySpec
from .saved_policies import load_policy
from .sb3_models import ALGORITHMS, load_sb3_model

__all__ = ["PolicyLoadError", "resolve_policy"]


def resolve_policy(spec: str | Path, *, trust: bool = False) -> Policy:
    """Return the policy that a text names.

    | text | policy |
    |---|---|
    | ``model.zip`` | a model of Stable-Baselines3 or sb3-contrib; a pickle, so only with ``trust=True`` |
    | ``sac:model.zip`` | the same, where the algorithm cannot be read from the file |
    | ``model.zip,vec_normalize=stats.pkl`` | the same, trained with ``VecNormalize``; both are pickles |
    | ``folder`` | a folder that ``policy.save`` or ``save_policy`` of this package wrote, or a policy of LeRobot |
    | ``lerobot:user/name`` | a policy of LeRobot on the Hugging Face Hub; ``,task=…`` gives an instruction |
    | ``model.onnx`` | an ONNX graph; ``,action=NAME`` names the output |
    | ``module:function`` | a function from a batch of observations to actions, a policy, or a class of policies |

    Args:
        spec: the text, or a path.
        trust: whether pickles may be loaded, which can execute any code. Set it for files of your own.

    Returns:
        The policy. Its ``predict`` takes a batch of observations or a single one; recurrent policies take and return
        their state.

    Raises:
        PolicyLoadError: nothing has this name, the policy is damaged, a package is missing, or there is no consent.
        ArtifactError: a folder of ours is damaged or altered.

    Example:
        >>> import numpy as np
        >>> resolve_policy("numpy:zeros_like").predict(np.ones((2, 3)))[0].tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    parsed = PolicySpec.parse(spec)
    prefix = parsed.prefix.lower()
    if prefix == "lerobot":
        parsed.require_options("task")
        return load_lerobot(parsed.place, task=parsed.options.get("task"))
    is_file_name = parsed.path.suffix.lower() in (".zip", ".onnx")
    if is_file_name or prefix in ALGORITHMS or (not prefix and parsed.path.exists()):
        return _from_path(parsed, prefix, trust)
    if prefix:
        parsed.require_options()
        return _from_module(parsed)
    raise PolicyLoadError(_unknown(parsed))


def _from_path(parsed: PolicySpec, prefix: str, trust: bool) -> Policy:
    path = parsed.path
    if not path.exists():
        raise PolicyLoadError(f"expected a policy at {path}, got nothing there; check the path")
    if path.is_dir():
        return _from_folder(parsed, path)
    if path.suffix.lower() == ".onnx":
        parsed.require_options("action")
        return OnnxPolicy(path, parsed.options.get("action"))
    if path.suffix.lower() == ".zip" or prefix in ALGORITHMS:
        parsed.require_options("vec_normalize")
        statistics = parsed.options.get("vec_normalize")
        vec_normalize = None if statistics is None else Path(statistics).expanduser()
        return load_sb3_model(path, trust=trust, algorithm=prefix or None, vec_normalize=vec_normalize)
    raise PolicyLoadError(_unknown(parsed))


def _from_folder(parsed: PolicySpec, folder: Path) -> Policy:
    if (folder / CARD).exists():
        parsed.require_options()
        return load_policy(folder)
    if is_lerobot_folder(folder):
        parsed.require_options("task")
        return load_lerobot(str(folder), task=parsed.options.get("task"))
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    raise PolicyLoadError(
        f"expected a policy in the folder {folder}: {CARD} (ours), or config.json and model.safetensors (LeRobot); "
        f"got {names}"
    )


def _from_module(parsed: PolicySpec) -> Policy:
    module, name, text = parsed.prefix, parsed.place, parsed.text
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if not f"{module}.".startswith(f"{missing}."):
            raise PolicyLoadError(f"the policy {text!r} needs {missing!r}, which is not installed") from error
        raise PolicyLoadError(
            f"the policy {text!r}: there is no module {module!r}; run where Python finds it (PYTHONPATH=.)"
        ) from error
    except (AttributeError, ValueError, TypeError) as error:
        raise PolicyLoadError(f"the policy {text!r}: {module!r} has no {name!r} ({error}); check the name") from error
    try:
        return as_policy(found() if isinstance(found, type) else found)
    except TypeError as error:
        raise PolicyLoadError(
            f"expected {text!r} to be a function from observations to actions, a policy, or a class of policies "
            f"without arguments: {error}"
        ) from error


def _unknown(parsed: PolicySpec) -> str:
    what = "a file of another kind" if parsed.path.exists() else "nothing there"
    return (
        f"expected a policy at {parsed.text!r}, got {what}. Policies are a folder that `save_policy` wrote, "
        "a model.zip of Stable-Baselines3, a model.onnx, 'lerobot:user/name' or 'module:function' "
        "(for any other format write a function that loads it and acts)"
    )
