"""Run what was trained on one encoder on another: relative maps, alignments and topological densification."""
