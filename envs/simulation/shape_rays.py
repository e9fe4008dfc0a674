# mypy: ignore-errors
"""Intersections of rays with MuJoCo's shapes, as Warp functions; rays and shapes are in the shape's own frame.

Every function returns the distances at which a ray enters and leaves a convex shape, in units of its direction, and
the outward normal where it enters. A ray that misses enters at `MISS`. (This is Warp's language,
not Python's: linters are told so above.)
"""

import warp as wp

wp.set_module_options({"enable_backward": False})

MISS = wp.constant(1.0e30)
"""Distance of a ray that hits nothing."""

SPHERE = wp.constant(2)
CAPSULE = wp.constant(3)
ELLIPSOID = wp.constant(4)
CYLINDER = wp.constant(5)
BOX = wp.constant(6)


@wp.struct
class Crossing:
    """A ray's way through a convex shape."""

    enter: float
    leave: float
    normal: wp.vec3


@wp.func
def cross_ellipsoid(origin: wp.vec3, direction: wp.vec3, radii: wp.vec3) -> Crossing:
    """Cross an ellipsoid: a unit sphere after division by its radii."""
    crossing = Crossing()
    crossing.enter = MISS
    o = wp.cw_div(origin, radii)
    d = wp.cw_div(direction, radii)
    a = wp.dot(d, d)
    b = wp.dot(o, d)
    inside = b * b - a * (wp.dot(o, o) - 1.0)
    if inside >= 0.0:
        root = wp.sqrt(inside)
        crossing.enter = (-b - root) / a
        crossing.leave = (-b + root) / a
        crossing.normal = wp.normalize(wp.cw_div(o + crossing.enter * d, radii))
    return crossing


@wp.func
def slab(origin: float, direction: float, half: float) -> wp.vec2:
    """Return where a ray enters and leaves the space between two parallel planes."""
    if wp.abs(direction) < 1.0e-12:
        if wp.abs(origin) > half:
            return wp.vec2(MISS, -MISS)
        return wp.vec2(-MISS, MISS)
    t1 = (-half - origin) / direction
    t2 = (half - origin) / direction
    return wp.vec2(wp.min(t1, t2), wp.max(t1, t2))


@wp.func
def cross_box(origin: wp.vec3, direction: wp.vec3, half: wp.vec3) -> Crossing:
    """Cross a box of three half lengths."""
    crossing = Crossing()
    crossing.enter = -MISS
    crossing.leave = MISS
    for axis in range(3):
        bounds = slab(origin[axis], direction[axis], half[axis])
        if bounds[0] > crossing.enter:
            crossing.enter = bounds[0]
            normal = wp.vec3(0.0, 0.0, 0.0)
            normal[axis] = -wp.sign(direction[axis])
            crossing.normal = normal
        crossing.leave = wp.min(crossing.leave, bounds[1])
    if crossing.enter > crossing.leave:
        crossing.enter = MISS
    return crossing


@wp.func
def cross_pipe(origin: wp.vec3, direction: wp.vec3, radius: float) -> Crossing:
    """Cross an endless cylinder around the z axis."""
    crossing = Crossing()
    crossing.enter = MISS
    a = direction[0] * direction[0] + direction[1] * direction[1]
    b = origin[0] * direction[0] + origin[1] * direction[1]
    c = origin[0] * origin[0] + origin[1] * origin[1] - radius * radius
    if a < 1.0e-12:
        if c <= 0.0:
            crossing.enter = -MISS
            crossing.leave = MISS
        return crossing
    inside = b * b - a * c
    if inside >= 0.0:
        root = wp.sqrt(inside)
        crossing.enter = (-b - root) / a
        crossing.leave = (-b + root) / a
        hit = origin + crossing.enter * direction
        crossing.normal = wp.vec3(hit[0] / radius, hit[1] / radius, 0.0)
    return crossing


@wp.func
def cross_cylinder(origin: wp.vec3, direction: wp.vec3, radius: float, half: float) -> Crossing:
    """Cross a cylinder of a radius and half a length."""
    crossing = cross_pipe(origin, direction, radius)
    if crossing.enter >= MISS:
        return crossing
    bounds = slab(origin[2], direction[2], half)
    if bounds[0] > crossing.enter:
        crossing.enter = bounds[0]
        crossing.normal = wp.vec3(0.0, 0.0, -wp.sign(direction[2]))
    crossing.leave = wp.min(crossing.leave, bounds[1])
    if crossing.enter > crossing.leave:
        crossing.enter = MISS
    return crossing


@wp.func
def cross_capsule(origin: wp.vec3, direction: wp.vec3, radius: float, half: float) -> Crossing:
    """Cross a capsule: a cylinder of a radius and half a length with half balls at its ends."""
    crossing = cross_pipe(origin, direction, radius)
    if crossing.enter >= MISS:
        return crossing
    first = origin[2] + crossing.enter * direction[2]
    last = origin[2] + crossing.leave * direction[2]
    if wp.abs(first) > half or wp.abs(last) > half:
        radii = wp.vec3(radius, radius, radius)
        top = cross_ellipsoid(origin - wp.vec3(0.0, 0.0, half), direction, radii)
        bottom = cross_ellipsoid(origin + wp.vec3(0.0, 0.0, half), direction, radii)
        if wp.abs(first) > half:
            crossing.enter = top.enter
            crossing.normal = top.normal
            if bottom.enter < top.enter:
                crossing.enter = bottom.enter
                crossing.normal = bottom.normal
        if wp.abs(last) > half:
            crossing.leave = -MISS
            if top.enter < MISS:
                crossing.leave = top.leave
            if bottom.enter < MISS:
                crossing.leave = wp.max(crossing.leave, bottom.leave)
        if crossing.enter >= MISS or crossing.leave < crossing.enter:
            crossing.enter = MISS
    return crossing


@wp.func
def cross_solid(kind: int, origin: wp.vec3, direction: wp.vec3, size: wp.vec3) -> Crossing:
    """Cross a sphere, capsule, ellipsoid, cylinder or box; MuJoCo's sizes."""
    if kind == CAPSULE:
        return cross_capsule(origin, direction, size[0], size[1])
    if kind == BOX:
        return cross_box(origin, direction, size)
    if kind == CYLINDER:
        return cross_cylinder(origin, direction, size[0], size[1])
    radii = size
    if kind == SPHERE:
        radii = wp.vec3(size[0], size[0], size[0])
    return cross_ellipsoid(origin, direction, radii)
