"""Compare sets of points in hyperbolic or Euclidean space by the edges of their Delaunay graph."""
