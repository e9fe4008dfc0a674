# mypy: ignore-errors
# ruff: noqa: UP018, RUF046, SIM102, SIM109
"""Textures as MuJoCo's OpenGL renderer maps and filters them, as Warp functions.

Textures are pyramids of halved images (mip maps) in one array of packed texels, so that no kernel depends on their
number or sizes. (This is Warp's language, not Python's: linters are told so above.)
"""

import warp as wp

from .shape_rays import BOX, CAPSULE, CYLINDER, ELLIPSOID, SPHERE

wp.set_module_options({"enable_backward": False})

PLANE = wp.constant(0)
MAX_LEVELS = wp.constant(14)
"""Most images in a pyramid: the widest texture has 2**13 texels a side."""


@wp.struct
class Textures:
    """Pyramids of all textures of a model.

    Attributes:
        texels: RGB in one integer each.
        levels: (texture, level) -> first texel, width and height of a face; width 0 where there is no such level.
        cube: whether a texture has six faces, one after another.
    """

    texels: wp.array(dtype=wp.uint32)
    levels: wp.array2d(dtype=wp.vec3i)
    cube: wp.array(dtype=wp.int32)


@wp.struct
class TexturePoint:
    """A place in a texture: coordinates, and how fast they change per unit of length."""

    uv: wp.vec2
    rate: wp.vec2


@wp.struct
class Unwrapped:
    """A place on a shape's surface laid flat: coordinates for one repetition, and the lengths that this covers."""

    uv: wp.vec2
    extent: wp.vec2


@wp.func
def unpack_texel(texel: wp.uint32) -> wp.vec3:
    """Return a packed colour as three numbers in [0, 1]."""
    word = int(texel)
    return wp.vec3(float((word >> 16) & 255), float((word >> 8) & 255), float(word & 255)) * (1.0 / 255.0)


@wp.func
def wrapped(index: int, size: int, repeats: bool) -> int:
    """Return the index of a texel beyond the edge: that of the next repetition, or of the edge."""
    if repeats:
        rest = index % size
        return wp.where(rest < 0, rest + size, rest)
    return wp.clamp(index, 0, size - 1)


@wp.func
def sample_level(textures: Textures, texture: int, level: int, face: int, uv: wp.vec2, repeats: bool) -> wp.vec3:
    """Return the bilinear mean of four texels."""
    shape = textures.levels[texture, level]
    width = shape[1]
    height = shape[2]
    start = shape[0] + face * width * height
    x = uv[0] * float(width) - 0.5
    y = uv[1] * float(height) - 0.5
    left = wp.floor(x)
    top = wp.floor(y)
    x0 = wrapped(int(left), width, repeats)
    x1 = wrapped(int(left) + 1, width, repeats)
    y0 = start + wrapped(int(top), height, repeats) * width
    y1 = start + wrapped(int(top) + 1, height, repeats) * width
    upper = wp.lerp(unpack_texel(textures.texels[y0 + x0]), unpack_texel(textures.texels[y0 + x1]), x - left)
    lower = wp.lerp(unpack_texel(textures.texels[y1 + x0]), unpack_texel(textures.texels[y1 + x1]), x - left)
    return wp.lerp(upper, lower, y - top)


@wp.func
def sample_texture(
    textures: Textures, texture: int, face: int, uv: wp.vec2, texels_per_pixel: float, repeats: bool
) -> wp.vec3:
    """Return a texture's colour, between the two images whose texels are about as large as a pixel."""
    level = wp.log2(wp.max(texels_per_pixel, 1.0))
    fine = int(wp.min(level, float(MAX_LEVELS - 1)))
    while textures.levels[texture, fine][1] == 0:
        fine -= 1
        level = float(fine)
    colour = sample_level(textures, texture, fine, face, uv, repeats)
    share = level - float(fine)
    if share > 0.0 and fine + 1 < MAX_LEVELS:
        if textures.levels[texture, fine + 1][1] > 0:
            coarse = sample_level(textures, texture, fine + 1, face, uv, repeats)
            colour = wp.lerp(colour, coarse, share)
    return colour


@wp.func
def sample_cube(textures: Textures, texture: int, direction: wp.vec3, pixel: float) -> wp.vec3:
    """Return the colour of a cube texture in a direction; ``pixel`` is the angle of a pixel."""
    x = wp.abs(direction[0])
    y = wp.abs(direction[1])
    z = wp.abs(direction[2])
    face = int(4)
    s = direction[0]
    t = -direction[1]
    largest = z
    if x >= y and x >= z:
        face = wp.where(direction[0] > 0.0, 0, 1)
        s = wp.where(direction[0] > 0.0, -direction[2], direction[2])
        largest = x
    elif y >= z:
        face = wp.where(direction[1] > 0.0, 2, 3)
        s = direction[0]
        t = wp.where(direction[1] > 0.0, direction[2], -direction[2])
        largest = y
    elif direction[2] < 0.0:
        face = 5
        s = -direction[0]
    largest = wp.max(largest, 1.0e-9)
    uv = wp.vec2(0.5 * (s / largest + 1.0), 0.5 * (t / largest + 1.0))
    scale = 0.5 * pixel * float(textures.levels[texture, 0][1]) * wp.length(direction) / largest
    return sample_texture(textures, texture, face, uv, scale, False)


@wp.func
def azimuth(point: wp.vec3) -> float:
    """Return the direction from the z axis as a part of a turn, in [0, 1)."""
    turn = wp.atan2(point[1], point[0]) * (0.5 / wp.pi)
    return wp.where(turn < 0.0, turn + 1.0, turn)


@wp.func
def unwrap_plane(point: wp.vec3, size: wp.vec3) -> Unwrapped:
    """Unwrap a plane; without an end, one unit of the texture is two units of length."""
    place = Unwrapped()
    u = 0.5 * point[0]
    v = -0.5 * point[1]
    place.extent = wp.vec2(2.0, 2.0)
    if size[0] > 0.0:
        u = (point[0] + size[0]) / (2.0 * size[0])
        place.extent[0] = 2.0 * size[0]
    if size[1] > 0.0:
        v = (size[1] - point[1]) / (2.0 * size[1])
        place.extent[1] = 2.0 * size[1]
    place.uv = wp.vec2(u, v)
    return place


@wp.func
def unwrap_box(point: wp.vec3, normal: wp.vec3, size: wp.vec3) -> Unwrapped:
    """Unwrap a box: every face shows the whole texture."""
    place = Unwrapped()
    s = point[0]
    t = -point[1]
    half = wp.vec2(size[0], size[1])
    if wp.abs(normal[0]) > 0.5:
        s = point[1] * wp.sign(normal[0])
        t = -point[2]
        half = wp.vec2(size[1], size[2])
    elif wp.abs(normal[1]) > 0.5:
        s = -point[0] * wp.sign(normal[1])
        t = -point[2]
        half = wp.vec2(size[0], size[2])
    elif normal[2] < 0.0:
        t = point[1]
    place.uv = wp.vec2((s + half[0]) / (2.0 * half[0]), (t + half[1]) / (2.0 * half[1]))
    place.extent = 2.0 * half
    return place


@wp.func
def unwrap_pipe(kind: int, point: wp.vec3, normal: wp.vec3, radius: float, half: float) -> Unwrapped:
    """Unwrap a cylinder or a capsule around its axis; ends of cylinders show the whole texture."""
    place = Unwrapped()
    place.extent = wp.vec2(2.0 * wp.pi * radius, 2.0 * half)
    u = azimuth(point)
    v = (half - point[2]) / (2.0 * half)
    if kind == CYLINDER:
        if wp.abs(normal[2]) > 0.7:
            u = 0.5 + 0.5 * point[0] / radius
            v = 0.5 + 0.5 * point[1] / radius
            place.extent = wp.vec2(2.0 * radius, 2.0 * radius)
    elif point[2] > half:
        v = 1.0 - wp.asin(wp.clamp((point[2] - half) / radius, 0.0, 1.0)) * (2.0 / wp.pi)
    elif point[2] < -half:
        v = wp.asin(wp.clamp((-half - point[2]) / radius, 0.0, 1.0)) * (2.0 / wp.pi)
    place.uv = wp.vec2(u, v)
    return place


@wp.func
def unwrap_ball(kind: int, point: wp.vec3, size: wp.vec3) -> Unwrapped:
    """Unwrap a sphere or an ellipsoid: longitude and latitude."""
    place = Unwrapped()
    radii = size
    if kind == SPHERE:
        radii = wp.vec3(size[0], size[0], size[0])
    unit = wp.normalize(wp.cw_div(point, radii))
    place.uv = wp.vec2(azimuth(unit), 0.5 - wp.asin(wp.clamp(unit[2], -1.0, 1.0)) / wp.pi)
    place.extent = wp.vec2(2.0 * wp.pi * radii[0], wp.pi * radii[2])
    return place


@wp.func
def map_flat(point: wp.vec3, size: wp.vec3, repeat: wp.vec2, uniform: bool) -> TexturePoint:
    """Project a texture along the z axis, as on meshes without coordinates and on height fields."""
    place = TexturePoint()
    scale = wp.vec2(repeat[0], repeat[1])
    if size[0] > 0.0 and not uniform:
        scale = wp.vec2(scale[0] / size[0], scale[1])
    if size[1] > 0.0 and not uniform:
        scale = wp.vec2(scale[0], scale[1] / size[1])
    place.uv = wp.vec2(0.5 * scale[0] * point[0] - 0.5, -0.5 * scale[1] * point[1] - 0.5)
    place.rate = 0.5 * scale
    return place


@wp.func
def map_point(
    kind: int, point: wp.vec3, normal: wp.vec3, size: wp.vec3, repeat: wp.vec2, uniform: bool
) -> TexturePoint:
    """Return where a point of a shape lies in a 2D texture.

    Args:
        kind: MuJoCo's type of the geom.
        point: the point in the frame of the geom.
        normal: its normal in the frame of the geom.
        size: MuJoCo's sizes of the geom.
        repeat: repetitions of the texture.
        uniform: whether they are per unit of length.
    """
    unwrapped = Unwrapped()
    second = size[1]
    if kind == PLANE:
        unwrapped = unwrap_plane(point, size)
    elif kind == BOX:
        unwrapped = unwrap_box(point, normal, size)
    elif kind == CYLINDER or kind == CAPSULE:
        unwrapped = unwrap_pipe(kind, point, normal, size[0], size[1])
        second = size[0]
    elif kind == SPHERE or kind == ELLIPSOID:
        unwrapped = unwrap_ball(kind, point, size)
        second = wp.where(kind == SPHERE, size[0], size[1])
    else:
        return map_flat(point, size, repeat, uniform)
    scale = wp.vec2(wp.where(repeat[0] > 0.0, repeat[0], 1.0), wp.where(repeat[1] > 0.0, repeat[1], 1.0))
    if uniform:
        scale = wp.vec2(
            scale[0] * wp.where(size[0] > 0.0, size[0], 1.0), scale[1] * wp.where(second > 0.0, second, 1.0)
        )
    place = TexturePoint()
    place.uv = wp.cw_mul(unwrapped.uv, scale)
    if kind == PLANE and (size[0] <= 0.0 or size[1] <= 0.0):
        place.uv = place.uv - wp.vec2(0.5, 0.5)
    place.rate = wp.cw_div(scale, unwrapped.extent)
    return place
