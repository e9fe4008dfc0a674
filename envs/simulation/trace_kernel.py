# mypy: ignore-errors
# ruff: noqa: UP018, RUF046
"""The kernel that draws what MuJoCo's OpenGL renderer draws: its lights, shadows, mirrors, transparency, sky and haze.

Everything that differs between models is an argument, so that one compiled kernel draws all models; Warp keeps it on
disk for later processes. (This is Warp's language, not Python's: linters are told so above.)
"""

import warp as wp

from .ray_hits import nearest_clear_hit, nearest_hit
from .surface_light import surface_colour
from .texture_lookup import Textures, sample_cube
from .traced_scene import Hit, Picture, Scene

wp.set_module_options(
    {"enable_backward": False, "fast_math": True, "cpu_compiler_flags": "-march=native -mllvm=-inline-threshold=1000"}
)

LAYERS = wp.constant(4)
"""Most transparent surfaces along a ray."""


@wp.func
def mirrored(
    scene: Scene,
    textures: Textures,
    world: int,
    hit: Hit,
    origin: wp.vec3,
    direction: wp.vec3,
    pixel: float,
    far: float,
) -> wp.vec3:
    """Return what a mirror adds: opaque shapes in front of it."""
    point = origin + hit.distance * direction
    away = direction - 2.0 * wp.dot(direction, hit.normal) * hit.normal
    seen = nearest_hit(scene.shapes, scene.nodes, world, point, away, 1.0e-4, far, hit.shape)
    if seen.shape < 0:
        return wp.vec3(0.0, 0.0, 0.0)
    share = scene.shapes[world, hit.shape].material[3]
    return surface_colour(scene, textures, world, seen, point, away, pixel, share, False)


@wp.func
def haze_opacity(
    scene: Scene,
    world: int,
    floor: int,
    eye: wp.vec3,
    direction: wp.vec3,
    radius: float,
    extent: float,
    distance: float,
) -> float:
    """Return the opacity of MuJoCo's haze, a truncated cone between an infinite floor and the horizon."""
    rotation = scene.shapes[world, floor].rotation
    height = wp.dot(eye - scene.shapes[world, floor].position, rotation @ wp.vec3(0.0, 0.0, 1.0)) / radius
    toward = wp.transpose(rotation) @ direction
    level = wp.sqrt(toward[0] * toward[0] + toward[1] * toward[1])
    if height <= 0.0 or extent <= 0.0:
        return 0.0
    slope = level - extent * toward[2] / height
    if slope <= 0.0:
        return 0.0
    if radius / slope > distance:
        return 0.0
    share = 1.0 + toward[2] / (slope * height)
    if share <= 0.0 or share >= 1.0:
        return 0.0
    angle = wp.atan2(1.0, extent)
    turn = wp.sqrt(0.5) * extent * wp.sin(angle) / wp.sin(0.75 * wp.pi - angle)
    if share < turn:
        return share / turn
    return (1.0 - share) / (1.0 - turn)


@wp.func
def behind_layers(
    scene: Scene,
    textures: Textures,
    world: int,
    origin: wp.vec3,
    direction: wp.vec3,
    pixel: float,
    near: float,
    far: float,
    shapes_number: int,
    behind: wp.vec3,
) -> wp.vec3:
    """Blend transparent surfaces over a colour: twice each, from front to back and from back to front, as MuJoCo."""
    colours = wp.matrix(0.0, shape=(4, 3), dtype=float)
    opacities = wp.vec4(0.0, 0.0, 0.0, 0.0)
    colour = behind
    start = near
    number = int(0)
    for layer in range(LAYERS):
        hit = nearest_clear_hit(scene.shapes, scene.clear, world, shapes_number, origin, direction, start, far)
        if hit.shape < 0:
            break
        own = surface_colour(scene, textures, world, hit, origin, direction, pixel, 1.0, False)
        colours[layer] = own
        opacities[layer] = scene.shapes[world, hit.shape].rgba[3]
        colour = wp.lerp(colour, own, opacities[layer])
        start = hit.distance + 1.0e-5
        number += 1
    for step in range(number):
        layer = number - 1 - step
        colour = wp.lerp(colour, colours[layer], opacities[layer])
    return colour


@wp.func
def ray_colour(
    scene: Scene,
    textures: Textures,
    picture: Picture,
    world: int,
    origin: wp.vec3,
    direction: wp.vec3,
    pixel: float,
) -> wp.vec3:
    """Return the colour at the end of a ray from the camera."""
    clip = scene.cameras[world].clip
    ahead = wp.max(wp.dot(direction, scene.cameras[world].forward), 1.0e-6)
    near = clip[0] / ahead
    far = clip[1] / ahead
    radius = 0.7 * clip[1]
    if picture.sky >= 0:
        level = wp.sqrt(direction[0] * direction[0] + direction[1] * direction[1])
        far = wp.min(far, radius / wp.max(wp.max(level, wp.abs(direction[2])), 1.0e-6))
    hit = nearest_hit(scene.shapes, scene.nodes, world, origin, direction, near, far, -1)
    colour = wp.vec3(0.0, 0.0, 0.0)
    if hit.shape >= 0:
        colour = surface_colour(scene, textures, world, hit, origin, direction, pixel, 1.0, True)
        if hit.shape == scene.cameras[world].mirror:
            upright = scene.shapes[world, hit.shape].rotation @ wp.vec3(0.0, 0.0, 1.0)
            if wp.dot(hit.normal, upright) > 0.9:
                colour += mirrored(scene, textures, world, hit, origin, direction, pixel, far)
                colour = wp.min(colour, wp.vec3(1.0, 1.0, 1.0))
    elif picture.sky >= 0:
        colour = sample_cube(textures, picture.sky, wp.vec3(direction[0], direction[2], -direction[1]), pixel)
    if picture.sky >= 0 and scene.cameras[world].floor >= 0:
        opacity = haze_opacity(
            scene, world, scene.cameras[world].floor, origin, direction, radius, picture.haze[3], hit.distance
        )
        colour = wp.lerp(colour, wp.vec3(picture.haze[0], picture.haze[1], picture.haze[2]), opacity)
    if scene.cameras[world].num_clear > 0:
        colour = behind_layers(
            scene, textures, world, origin, direction, pixel, near, hit.distance, scene.cameras[world].num_clear, colour
        )
    return colour


@wp.kernel
def draw_pixels(
    scene: Scene,
    textures: Textures,
    picture: Picture,
    first: int,
    frames: wp.array2d(dtype=wp.uint8),
):
    """Draw pixels from number ``first`` on, row by row from the top."""
    world, offset = wp.tid()
    index = first + offset
    column = index % picture.width
    row = index // picture.width
    total = wp.vec3(0.0, 0.0, 0.0)
    side = picture.samples
    pixel = wp.length(scene.cameras[world].upward) / (float(picture.height) * scene.cameras[world].clip[0])
    for sample in range(side * side):
        x = (float(column) + (float(sample % side) + 0.5) / float(side)) / float(picture.width)
        y = 1.0 - (float(row) + (float(sample // side) + 0.5) / float(side)) / float(picture.height)
        spot = scene.cameras[world].corner + x * scene.cameras[world].across + y * scene.cameras[world].upward
        origin = scene.cameras[world].eye
        direction = wp.normalize(spot)
        if scene.cameras[world].parallel > 0:
            direction = scene.cameras[world].forward
            origin = origin + spot - wp.dot(spot, direction) * direction
        total += ray_colour(scene, textures, picture, world, origin, direction, pixel)
    total = total * (255.0 / float(side * side))
    for channel in range(3):
        frames[world, 3 * index + channel] = wp.uint8(wp.clamp(total[channel] + 0.5, 0.0, 255.0))
