# mypy: ignore-errors
"""What a ray tracer draws, as Warp structures: shapes, lights, cameras and the picture.

Functions get the arrays that they need, one record for each shape, because Warp copies structures at every call. (This
is Warp's language, not Python's: linters are told so above.)
"""

import warp as wp

PLANE = wp.constant(0)
MESH = wp.constant(7)
"""Types of geoms in MuJoCo; the others are solids."""
OPAQUE = wp.constant(0.995)
"""Opacity from which MuJoCo draws a shape as opaque."""


@wp.struct
class ShapeRecord:
    """A visible geom or site.

    Attributes:
        kind: MuJoCo's type; `MESH` for all meshes and height fields.
        rgba: colour and opacity; 0 is hidden.
        material: emission, specular, shininess, reflectance.
        texture: its number or -1, repetitions along two axes, and whether they are per unit of length.
        mesh: Warp's mesh of a shape of this kind.
        corner: first corner of the mesh's first face.
        textured: whether its corners have texture coordinates.
    """

    position: wp.vec3
    rotation: wp.mat33
    size: wp.vec3
    kind: wp.int32
    rgba: wp.vec4
    material: wp.vec4
    texture: wp.vec4
    mesh: wp.uint64
    corner: wp.int32
    textured: wp.int32


@wp.struct
class NodeRecord:
    """A node of `ShapeTree`: the box around its branch, its shape or -1, and the node after its branch."""

    lower: wp.vec3
    upper: wp.vec3
    leaf: wp.int32
    skip: wp.int32


@wp.struct
class LightRecord:
    """A light, or the headlight.

    Attributes:
        kind: MuJoCo's type; -1 is off.
        cone: cosine of the cutoff, exponent, whether it casts shadows, and the width of its shadow map.
    """

    kind: wp.int32
    position: wp.vec3
    direction: wp.vec3
    ambient: wp.vec3
    diffuse: wp.vec3
    specular: wp.vec3
    attenuation: wp.vec3
    cone: wp.vec4


@wp.struct
class CameraRecord:
    """A camera, and what it needs to know about its world.

    Attributes:
        corner: from the eye to the lower left corner of the image, on the plane in front of it.
        across: from there to the lower right corner.
        upward: from there to the upper left corner.
        clip: distances of the near and the far plane.
        parallel: whether the rays of an image are parallel (orthographic).
        mirror: the shape that is a mirror, or -1.
        floor: the infinite plane that ends in haze, or -1.
        num_clear: number of transparent shapes.
    """

    eye: wp.vec3
    forward: wp.vec3
    corner: wp.vec3
    across: wp.vec3
    upward: wp.vec3
    clip: wp.vec2
    parallel: wp.int32
    mirror: wp.int32
    floor: wp.int32
    num_clear: wp.int32


@wp.struct
class Scene:
    """A batch of worlds.

    Attributes:
        shapes: ``(world, shape)``; also ``nodes`` and ``lights``.
        clear: numbers of the transparent shapes, ``(world, shape)``.
        cameras: ``(world,)``.
        corner_normal: normals at the three corners of all faces of all meshes.
        corner_uv: texture coordinates there.
    """

    shapes: wp.array2d(dtype=ShapeRecord)
    nodes: wp.array2d(dtype=NodeRecord)
    lights: wp.array2d(dtype=LightRecord)
    clear: wp.array2d(dtype=wp.int32)
    cameras: wp.array(dtype=CameraRecord)
    corner_normal: wp.array(dtype=wp.vec3)
    corner_uv: wp.array(dtype=wp.vec2)


@wp.struct
class Picture:
    """Properties of all images: size, rays a side of a pixel, the sky's texture or -1, haze colour and extent."""

    width: int
    height: int
    samples: int
    sky: int
    haze: wp.vec4


@wp.struct
class Hit:
    """The first shape along a ray."""

    shape: int
    distance: float
    normal: wp.vec3
    face: int
    weights: wp.vec2
