"""Tools for environments that simulate with MuJoCo, whoever wrote them: pixels, displacements and states."""
