# mypy: ignore-errors
# ruff: noqa: UP018, RUF046
"""The colour of a surface by OpenGL's lighting equations, with MuJoCo's shadows and textures, as Warp functions.

(This is Warp's language, not Python's: linters are told so above.)
"""

import warp as wp

from .ray_hits import is_blocked
from .texture_lookup import Textures, map_point, sample_cube, sample_texture
from .traced_scene import MESH, Hit, Scene

wp.set_module_options({"enable_backward": False})

DIRECTIONAL = wp.constant(1)
"""Type of lights from infinitely far away."""


@wp.func
def reaches(scene: Scene, world: int, light: int, point: wp.vec3, normal: wp.vec3) -> bool:
    """Return whether a light that casts shadows reaches a point, as far as MuJoCo's shadow map extends."""
    cone = scene.lights[world, light].cone
    ahead = scene.lights[world, light].direction
    offset = point - scene.lights[world, light].position
    depth = wp.dot(offset, ahead)
    beside = wp.length(offset - depth * ahead)
    if scene.lights[world, light].kind == DIRECTIONAL:
        if depth <= 0.0 or beside > cone[3]:
            return True
        return not is_blocked(scene.shapes, scene.nodes, world, point + 1.0e-3 * normal, -ahead, depth)
    if depth <= 0.0 or beside > cone[3] * depth:
        return True
    distance = wp.length(offset)
    return not is_blocked(
        scene.shapes, scene.nodes, world, point + 1.0e-3 * normal, -offset / distance, distance - 1.0e-3
    )


@wp.func
def lit(
    scene: Scene,
    world: int,
    point: wp.vec3,
    normal: wp.vec3,
    to_eye: wp.vec3,
    colour: wp.vec3,
    material: wp.vec4,
    shadows: bool,
) -> wp.vec3:
    """Return the light that a surface sends to the eye, by OpenGL's lighting equations."""
    total = colour * material[0]
    extra = wp.vec3(0.0, 0.0, 0.0)
    number = int(0)
    for light in range(scene.lights.shape[1]):
        kind = scene.lights[world, light].kind
        if kind >= 0:
            number += 1
            to_light = -scene.lights[world, light].direction
            strength = float(1.0)
            if kind != DIRECTIONAL:
                offset = scene.lights[world, light].position - point
                distance = wp.length(offset)
                to_light = offset / wp.max(distance, 1.0e-9)
                falloff = wp.dot(scene.lights[world, light].attenuation, wp.vec3(1.0, distance, distance * distance))
                cosine = -wp.dot(to_light, scene.lights[world, light].direction)
                strength = 0.0
                if cosine >= scene.lights[world, light].cone[0] and falloff > 0.0:
                    strength = wp.pow(wp.max(cosine, 0.0), scene.lights[world, light].cone[1]) / falloff
            casts = shadows and scene.lights[world, light].cone[2] > 0.0
            facing = wp.dot(normal, to_light)
            if strength > 0.0 and (facing > -1.0e-3 or not casts):  # a surface in its own shadow gets nothing
                received = wp.cw_mul(colour, scene.lights[world, light].ambient)
                if facing > 0.0:
                    half = wp.normalize(to_light + to_eye)
                    shine = wp.pow(wp.max(wp.dot(normal, half), 0.0), 128.0 * material[2]) * material[1]
                    received += wp.cw_mul(colour, scene.lights[world, light].diffuse) * facing
                    received += scene.lights[world, light].specular * shine
                received = received * strength
                if not casts:
                    total += received
                elif reaches(scene, world, light, point, normal):
                    extra += wp.min(received, wp.vec3(1.0, 1.0, 1.0))
    if number == 0:
        total += 0.3 * colour
    return wp.min(total, wp.vec3(1.0, 1.0, 1.0)) + extra


@wp.func
def texture_of(
    scene: Scene, textures: Textures, world: int, hit: Hit, point: wp.vec3, normal: wp.vec3, pixel: float
) -> wp.vec3:
    """Return the colour of a surface's texture; ``pixel`` is the length of a pixel on the surface."""
    record = scene.shapes[world, hit.shape].texture
    texture = int(record[0])
    rotation = scene.shapes[world, hit.shape].rotation
    local = wp.transpose(rotation) @ (point - scene.shapes[world, hit.shape].position)
    size = scene.shapes[world, hit.shape].size
    uniform = record[3] > 0.0
    if textures.cube[texture] > 0:
        direction = local
        if scene.shapes[world, hit.shape].kind != MESH:
            direction = wp.cw_div(local, wp.max(size, wp.vec3(1.0e-6, 1.0e-6, 1.0e-6)))
        if uniform:
            direction = wp.cw_mul(direction, size)
        return sample_cube(textures, texture, direction, pixel / wp.max(wp.length(local), 1.0e-6))
    shape = textures.levels[texture, 0]
    if scene.shapes[world, hit.shape].textured > 0:
        first = scene.shapes[world, hit.shape].corner + 3 * hit.face
        uv = (
            scene.corner_uv[first] * hit.weights[0]
            + scene.corner_uv[first + 1] * hit.weights[1]
            + scene.corner_uv[first + 2] * (1.0 - hit.weights[0] - hit.weights[1])
        )
        scale = wp.vec2(wp.where(record[1] > 0.0, record[1], 1.0), wp.where(record[2] > 0.0, record[2], 1.0))
        if uniform:
            scale = wp.vec2(scale[0] * size[0], scale[1] * size[1])
        rate = wp.cw_div(scale, wp.vec2(2.0 * size[0] + 1.0e-6, 2.0 * size[1] + 1.0e-6))
        blur = pixel * wp.max(rate[0] * float(shape[1]), rate[1] * float(shape[2]))
        return sample_texture(textures, texture, 0, wp.cw_mul(uv, scale), blur, True)
    place = map_point(
        scene.shapes[world, hit.shape].kind,
        local,
        wp.transpose(rotation) @ normal,
        size,
        wp.vec2(record[1], record[2]),
        uniform,
    )
    blur = pixel * wp.max(place.rate[0] * float(shape[1]), place.rate[1] * float(shape[2]))
    return sample_texture(textures, texture, 0, place.uv, blur, True)


@wp.func
def smooth_normal(scene: Scene, world: int, hit: Hit) -> wp.vec3:
    """Return the normal between those at the corners of a face, in world coordinates."""
    if scene.shapes[world, hit.shape].kind != MESH:
        return hit.normal
    first = scene.shapes[world, hit.shape].corner + 3 * hit.face
    normal = (
        scene.corner_normal[first] * hit.weights[0]
        + scene.corner_normal[first + 1] * hit.weights[1]
        + scene.corner_normal[first + 2] * (1.0 - hit.weights[0] - hit.weights[1])
    )
    return wp.normalize(scene.shapes[world, hit.shape].rotation @ normal)


@wp.func
def surface_colour(
    scene: Scene,
    textures: Textures,
    world: int,
    hit: Hit,
    origin: wp.vec3,
    direction: wp.vec3,
    pixel: float,
    dim: float,
    shadows: bool,
) -> wp.vec3:
    """Return the colour of a hit; ``pixel`` is the angle of a pixel, ``dim`` a factor on the surface's own colour."""
    point = origin + hit.distance * direction
    normal = smooth_normal(scene, world, hit)
    rgba = scene.shapes[world, hit.shape].rgba
    colour = wp.vec3(rgba[0], rgba[1], rgba[2]) * dim
    colour = lit(scene, world, point, normal, -direction, colour, scene.shapes[world, hit.shape].material, shadows)
    if scene.shapes[world, hit.shape].texture[0] >= 0.0:
        slant = wp.max(wp.abs(wp.dot(normal, direction)), 0.02)
        length = pixel * hit.distance / slant
        colour = wp.cw_mul(colour, texture_of(scene, textures, world, hit, point, normal, length))
    return wp.min(colour, wp.vec3(1.0, 1.0, 1.0))
