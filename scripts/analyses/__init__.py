"""Commands ``equiact analyze TOOL``, a file each."""
