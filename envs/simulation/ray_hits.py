# mypy: ignore-errors
# ruff: noqa: UP018, RUF046, SIM102
"""The first shape along a ray, and whether any shape lies on it, as Warp functions.

(This is Warp's language, not Python's: linters are told so above.)
"""

import warp as wp

from .shape_rays import MISS, cross_solid
from .traced_scene import MESH, OPAQUE, PLANE, Hit, NodeRecord, ShapeRecord

wp.set_module_options({"enable_backward": False})


@wp.func
def cross_mesh(mesh: wp.uint64, origin: wp.vec3, direction: wp.vec3, near: float, far: float) -> Hit:
    """Return the first face that is seen from its front; in the frame of the mesh."""
    hit = Hit()
    hit.distance = MISS
    start = near
    for _ in range(8):
        query = wp.mesh_query_ray(mesh, origin + start * direction, direction, far - start)
        if not query.result:
            return hit
        if wp.dot(query.normal, direction) < 0.0:
            hit.distance = start + query.t
            hit.normal = query.normal
            hit.face = query.face
            hit.weights = wp.vec2(query.u, query.v)
            return hit
        start += query.t + 1.0e-4
    return hit


@wp.func
def inverse_of(direction: wp.vec3) -> wp.vec3:
    """Return the inverse of each coordinate, finite for zeros."""
    inverse = wp.vec3(0.0, 0.0, 0.0)
    for axis in range(3):
        value = direction[axis]
        if wp.abs(value) < 1.0e-12:
            value = 1.0e-12
        inverse[axis] = 1.0 / value
    return inverse


@wp.func
def meets_box(lower: wp.vec3, upper: wp.vec3, origin: wp.vec3, inverse: wp.vec3, far: float) -> bool:
    """Return whether a ray meets a box before a distance."""
    first = wp.cw_mul(lower - origin, inverse)
    second = wp.cw_mul(upper - origin, inverse)
    enter = wp.max(wp.min(first, second))
    leave = wp.min(wp.max(first, second))
    return leave >= 0.0 and enter <= wp.min(leave, far)


@wp.func
def plane_distance(local: wp.vec3, toward: wp.vec3, size: wp.vec3) -> float:
    """Return the distance of a plane of two half lengths, endless where they are zero; in its own frame."""
    if wp.abs(toward[2]) < 1.0e-12:
        return MISS
    distance = -local[2] / toward[2]
    spot = local + distance * toward
    inside = (size[0] <= 0.0 or wp.abs(spot[0]) <= size[0]) and (size[1] <= 0.0 or wp.abs(spot[1]) <= size[1])
    return wp.where(inside, distance, MISS)


@wp.func
def nearer_hit(
    shapes: wp.array2d(dtype=ShapeRecord),
    world: int,
    shape: int,
    origin: wp.vec3,
    direction: wp.vec3,
    near: float,
    best: Hit,
    back: bool,
) -> Hit:
    """Return a shape's front face if it is nearer than the best hit so far; ``back`` allows the back of planes."""
    rotation = shapes[world, shape].rotation
    local = wp.transpose(rotation) @ (origin - shapes[world, shape].position)
    toward = wp.transpose(rotation) @ direction
    kind = shapes[world, shape].kind
    size = shapes[world, shape].size
    found = Hit()
    found.shape = shape
    found.distance = MISS
    if kind == PLANE:
        if toward[2] < 0.0 or back:
            found.distance = plane_distance(local, toward, size)
            found.normal = wp.vec3(0.0, 0.0, 1.0)
    elif kind == MESH:
        found = cross_mesh(shapes[world, shape].mesh, local, toward, near, best.distance)
        found.shape = shape
    else:
        crossing = cross_solid(kind, local, toward, size)
        found.distance = crossing.enter
        found.normal = crossing.normal
    if found.distance > near and found.distance < best.distance:
        found.normal = rotation @ found.normal
        return found
    return best


@wp.func
def nearest_hit(
    shapes: wp.array2d(dtype=ShapeRecord),
    nodes: wp.array2d(dtype=NodeRecord),
    world: int,
    origin: wp.vec3,
    direction: wp.vec3,
    near: float,
    far: float,
    omitted: int,
) -> Hit:
    """Return the first front face of an opaque shape between two distances."""
    best = Hit()
    best.shape = -1
    best.distance = far
    inverse = inverse_of(direction)
    node = int(0)
    while node < nodes.shape[1]:
        if meets_box(nodes[world, node].lower, nodes[world, node].upper, origin, inverse, best.distance):
            shape = nodes[world, node].leaf
            if shape >= 0 and shape != omitted:
                if shapes[world, shape].rgba[3] >= OPAQUE:
                    best = nearer_hit(shapes, world, shape, origin, direction, near, best, False)
            node += 1
        else:
            node = nodes[world, node].skip
    return best


@wp.func
def nearest_clear_hit(
    shapes: wp.array2d(dtype=ShapeRecord),
    clear: wp.array2d(dtype=wp.int32),
    world: int,
    number: int,
    origin: wp.vec3,
    direction: wp.vec3,
    near: float,
    far: float,
) -> Hit:
    """Return the first front face of a transparent shape between two distances."""
    best = Hit()
    best.shape = -1
    best.distance = far
    for index in range(number):
        best = nearer_hit(shapes, world, clear[world, index], origin, direction, near, best, True)
    return best


@wp.func
def is_blocked(
    shapes: wp.array2d(dtype=ShapeRecord),
    nodes: wp.array2d(dtype=NodeRecord),
    world: int,
    origin: wp.vec3,
    direction: wp.vec3,
    far: float,
) -> bool:
    """Return whether any shape lies on a ray, seen from either side."""
    inverse = inverse_of(direction)
    node = int(0)
    while node < nodes.shape[1]:
        if meets_box(nodes[world, node].lower, nodes[world, node].upper, origin, inverse, far):
            shape = nodes[world, node].leaf
            if shape >= 0:
                if shapes[world, shape].rgba[3] > 0.0:
                    rotation = shapes[world, shape].rotation
                    local = wp.transpose(rotation) @ (origin - shapes[world, shape].position)
                    toward = wp.transpose(rotation) @ direction
                    kind = shapes[world, shape].kind
                    size = shapes[world, shape].size
                    if kind == PLANE:
                        distance = plane_distance(local, toward, size)
                        if distance > 0.0 and distance < far:
                            return True
                    elif kind == MESH:
                        if wp.mesh_query_ray_anyhit(shapes[world, shape].mesh, local, toward, far):
                            return True
                    else:
                        crossing = cross_solid(kind, local, toward, size)
                        if crossing.enter < far and crossing.leave > 1.0e-4:
                            return True
            node += 1
        else:
            node = nodes[world, node].skip
    return False
