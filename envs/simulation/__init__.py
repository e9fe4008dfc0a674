"""The batch simulator: physics, ray-traced pixels and snapshots of identical MuJoCo scenes."""
