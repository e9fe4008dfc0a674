"""Pixels without OpenGL: exact colours and shapes, MuJoCo's own rays as the reference, wrappers, other packages."""

import copy
import json
import os
import subprocess
import sys
import textwrap

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from equiact.envs.mujoco_envs.cameras import Viewpoint, default_viewpoint
from equiact.envs.mujoco_envs.mujoco_scene import NoMujocoError
from equiact.envs.mujoco_envs.ray_traced_pixels import RayTracedPixels, VectorRayTracedPixels
from equiact.envs.mujoco_envs.scene_painter import ScenePainter
from equiact.envs.simulation import model_tracer
from equiact.envs.simulation.model_assets import model_fingerprint
from equiact.envs.simulation.shape_tree import ShapeTree
from equiact.scripts.benchmarks.pixels_benchmark import PixelsBenchmarkConfig, RendererError, measure_in_process
from equiact.scripts.commands.benchmark_pixels import BenchmarkPixels
from equiact.scripts.experiments.jobs import silent
from equiact.scripts.experiments.records import Records
from equiact.scripts.experiments.summaries import summarize_records
from gymnasium.vector import AutoresetMode

DARK = '<visual><headlight ambient="{ambient}" diffuse="0 0 0" specular="0 0 0"/></visual>'
EYE = '<camera name="eye" pos="0 0 4"/>'


def scene(body, assets="", ambient="1 1 1"):
    """A scene seen from above, in which nothing but ambient light shines: every shape has its own colour exactly."""
    xml = f"<mujoco>{DARK.format(ambient=ambient)}<asset>{assets}</asset><worldbody>{EYE}{body}</worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


class Still:
    """A scene without an environment."""

    def __init__(self, model, data):
        self.model, self.data = model, data


def draw(model, data, viewpoint=None, resolution=(33, 33), samples=1):
    viewpoint = viewpoint or Viewpoint("eye")
    return ScenePainter(viewpoint, resolution, samples).draw([Still(model, data)])[0]


def centre(picture):
    return tuple(int(value) for value in picture[picture.shape[0] // 2, picture.shape[1] // 2])


# --- colours -----------------------------------------------------------------------------------------------------


def test_ambient_light_shows_colours_exactly():
    model, data = scene('<geom size="1" rgba=".2 .4 .8 1"/>')
    picture = draw(model, data)
    assert centre(picture) == (51, 102, 204)
    assert (picture[0, 0] == 0).all(), "nothing is black"


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_transparent_shapes_are_blended_twice_as_by_mujoco(alpha):
    front = f'<geom type="box" pos="0 0 1" size="1 1 .1" rgba="1 0 0 {alpha}"/>'
    model, data = scene(front + '<geom size="1" rgba="0 0 1 1"/>')
    red = 1 - (1 - alpha) ** 2
    np.testing.assert_allclose(centre(draw(model, data)), [255 * red, 0, 255 * (1 - red)], atol=1)


def test_shapes_without_opacity_are_not_drawn():
    model, data = scene('<geom pos="0 0 1" size=".5" rgba="1 0 0 0"/><geom size="1" rgba="0 0 1 1"/>')
    assert centre(draw(model, data)) == (0, 0, 255)


@pytest.mark.parametrize(("group", "colour"), [(0, (255, 0, 0)), (2, (255, 0, 0)), (3, (0, 0, 255)), (5, (0, 0, 255))])
def test_groups_from_three_on_are_hidden_as_in_mujocos_viewer(group, colour):
    for kind in ("geom", "site"):
        hidden = f'<{kind} group="{group}" pos="0 0 1" size=".5" rgba="1 0 0 1"/>'
        assert centre(draw(*scene(hidden + '<geom size="1" rgba="0 0 1 1"/>'))) == colour


def test_a_mirror_adds_its_share_of_what_it_reflects():
    assets = '<material name="mirror" rgba="0 .2 0 1" reflectance=".5" specular="0"/>'
    body = '<geom type="plane" size="3 3 1" material="mirror"/><geom pos="0 0 9" size="4" rgba="1 0 0 1"/>'
    assert centre(draw(*scene(body, assets))) == (128, 51, 0)


@pytest.mark.parametrize("shadow", [True, False])
def test_a_light_behind_a_shape_casts_a_shadow(shadow):
    light = f'<light directional="true" castshadow="{str(shadow).lower()}" pos="0 0 5" dir="0 0 -1" diffuse="1 1 1" '
    light += 'specular="0 0 0"/>'
    body = '<geom type="plane" size="3 3 1" rgba=".4 .4 .4 1"/><geom pos="2 0 3" size=".5" rgba="0 0 0 1"/>'
    picture = draw(*scene(light + body, ambient="0 0 0"), Viewpoint(lookat=(2, 0, 0), distance=2, elevation=-60))
    assert centre(picture) == ((0, 0, 0) if shadow else (102, 102, 102))


def test_the_sky_is_seen_where_nothing_is():
    assets = '<texture type="skybox" builtin="flat" rgb1=".2 .4 .6" rgb2=".2 .4 .6" width="8" height="48"/>'
    picture = draw(*scene('<geom size=".1" pos="1 1 0"/>', assets))
    assert centre(picture) == (51, 102, 153)


@pytest.mark.parametrize("kind", ["2d", "cube"])
def test_textures_are_multiplied_with_the_colour(kind):
    assets = f'<texture name="t" type="{kind}" builtin="flat" rgb1="1 .5 0" rgb2="1 .5 0" width="9" height="9"/>'
    assets += '<material name="m" texture="t" rgba=".8 .8 1 1"/>'
    for shape in ('type="box" size="1 1 1"', 'size="1"', 'type="plane" size="0 0 1"', 'type="cylinder" size="1 1"'):
        np.testing.assert_allclose(centre(draw(*scene(f"<geom {shape} material='m'/>", assets))), [204, 102, 0], atol=1)


def test_far_textures_are_averaged():
    assets = '<texture name="t" type="2d" builtin="checker" rgb1="0 0 0" rgb2="1 1 1" width="101" height="101"/>'
    assets += '<material name="m" texture="t" texrepeat="40 40" texuniform="true"/>'
    picture = draw(*scene("<geom type='plane' size='0 0 1' material='m'/>", assets))
    assert np.ptp(picture.astype(int)) <= 4
    assert abs(picture.mean() - 127) < 3


def test_the_headlight_is_lambertian():
    xml = '<geom type="box" size="2 2 .1" euler="0 60 0" rgba="1 1 1 1"/>'
    model, data = scene(xml, assets='<material name="m"/>', ambient="0 0 0")
    model.vis.headlight.diffuse[:] = 0.5
    assert centre(draw(model, data))[0] == pytest.approx(255 * 0.5 * np.cos(np.pi / 3), abs=1)


# --- shapes, against MuJoCo's own rays ---------------------------------------------------------------------------

SHAPES = """
<geom type="plane" size="6 6 1" pos="0 0 -1"/>
<geom type="sphere" size=".5" pos="-1.2 1.2 0"/>
<geom type="capsule" size=".3 .5" pos="0 1.2 0" euler="50 20 0"/>
<geom type="ellipsoid" size=".6 .3 .2" pos="1.2 1.2 0" euler="10 40 30"/>
<geom type="cylinder" size=".4 .3" pos="-1.2 0 0" euler="60 0 20"/>
<geom type="box" size=".5 .3 .2" pos="0 0 0" euler="30 50 10"/>
<geom type="mesh" mesh="m" pos="1.2 0 0" euler="0 30 70"/>
<geom type="hfield" hfield="h" pos="0 -1.3 -.4"/>
"""
ASSETS = """
<mesh name="m" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>
<hfield name="h" nrow="5" ncol="4" size="1 .5 .6 .1" elevation="0 1 0 1  1 0 1 0  0 1 0 1  1 0 0 1  0 1 1 0"/>
"""


def first_geom(model, data, view, resolution):
    """The geom that MuJoCo's ray from the eye hits, for every pixel; -1 for none."""
    height, width = resolution
    found = np.full(resolution, -1)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    geom = np.zeros(1, np.int32)
    for row, column in np.ndindex(height, width):
        x, y = (column + 0.5) / width, 1 - (row + 0.5) / height
        ray = view.corner + x * view.across + y * view.upward
        mujoco.mj_ray(model, data, view.eye, ray / np.linalg.norm(ray), groups, 1, -1, geom, None)
        found[row, column] = geom[0]
    return found


@pytest.mark.parametrize("azimuth", [0, 100, 250])
def test_every_pixel_shows_what_mujocos_ray_hits(azimuth):
    model, data = scene(SHAPES, ASSETS)
    shades = np.linspace(0.2, 1, model.ngeom)
    model.geom_rgba[:, :3] = shades[:, None]
    viewpoint, resolution = Viewpoint(lookat=(0, 0, 0), distance=5, azimuth=azimuth, elevation=-60), (48, 40)
    picture = draw(model, data, viewpoint, resolution)[..., 0]
    view = model_tracer.view_of(model, data, viewpoint.camera_of(model), mujoco.MjvScene(model, 1), 40 / 48)
    geoms = first_geom(model, data, view, resolution)
    expected = np.where(geoms >= 0, np.round(255 * shades[geoms]), 0)
    assert len(np.unique(geoms)) == 8, "all shapes are in sight"
    assert np.mean(np.abs(picture - expected) > 1) <= 0.001, "an edge may differ by rounding"


def test_meshes_are_seen_from_their_front_only():
    inside, data = scene(
        '<geom type="mesh" mesh="m" rgba="1 0 0 1"/>', '<mesh name="m" vertex="0 0 0 9 0 0 0 9 0 0 0 9"/>'
    )
    inside.cam_pos[0] = [0.1, 0.1, 0.1]
    data.cam_xpos[0] = data.geom_xpos[0]
    assert centre(draw(inside, data)) == (0, 0, 0)


def test_samples_are_means_of_rays():
    model, data = scene(SHAPES, ASSETS)
    fine = draw(model, data, resolution=(32, 48)).reshape(16, 2, 24, 2, 3).mean((1, 3))
    smooth = draw(model, data, resolution=(16, 24), samples=2)
    assert np.abs(smooth - fine).mean() < 1, "but for the textures' sharpness and rounding"


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_boxes_of_a_tree_hold_their_shapes(count):
    generator = np.random.default_rng(count)
    lower = generator.normal(size=(2, count, 3)).astype(np.float32)
    upper = lower + generator.exponential(size=lower.shape).astype(np.float32)
    tree = ShapeTree(lower[0], upper[0])
    nodes = np.zeros((2, 2, 2 * count - 1, 3), np.float32)
    tree.fit(lower, upper, *nodes)
    assert sorted(tree.leaf[tree.leaf >= 0]) == list(range(count))
    for node in range(2 * count - 1):
        shapes = [shape for shape in tree.leaf[node : tree.skip[node]] if shape >= 0]
        np.testing.assert_array_equal(nodes[0][:, node], lower[:, shapes].min(1))
        np.testing.assert_array_equal(nodes[1][:, node], upper[:, shapes].max(1))


def test_pictures_do_not_depend_on_the_number_of_threads(monkeypatch):
    model, data = scene(SHAPES, ASSETS)
    pictures = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(model_tracer, "available_cores", lambda cores=cores: cores)
        pictures.append(draw(model, data))
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


# --- models that change ------------------------------------------------------------------------------------------


def changed(model, data, change):
    before = draw(model, data)
    painter = ScenePainter(Viewpoint("eye"), (33, 33))
    painter.draw([Still(model, data)])
    change(model, data)
    after = painter.draw([Still(model, data)])[0]
    np.testing.assert_array_equal(after, draw(model, data))
    return (before != after).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda model, data: model.geom_rgba.__setitem__((1, slice(None)), [1, 0, 0, 1]),
        lambda model, data: model.geom_size.__setitem__((1, 0), 1.0),
        lambda model, data: model.vis.headlight.ambient.__setitem__(slice(None), 0.2),
        lambda model, data: model.light_diffuse.__setitem__((0, slice(None)), 0.1),
        lambda model, data: model.light_active.__setitem__(0, 0),
        lambda model, data: data.cam_xpos.__setitem__((0, 0), 0.5),
        lambda model, data: data.geom_xpos.__setitem__((1, 0), 0.5),
        lambda model, data: model.geom_group.__setitem__(1, 4),
        lambda model, data: model.cam_fovy.__setitem__(0, 20.0),
    ],
    ids=["colour", "size", "headlight", "light", "light off", "camera", "pose", "group", "field of view"],
)
def test_changes_of_a_model_are_seen(change):
    light = '<light pos="0 0 5" dir="0 0 -1" diffuse=".4 .4 .4"/>'
    assert changed(
        *scene(
            light + '<geom type="plane" size="3 3 1" rgba=".3 .3 .3 1"/><geom size=".5" rgba="0 1 0 1"/>',
            ambient=".3 .3 .3",
        ),
        change,
    )


def test_a_recompiled_model_needs_a_new_tracer_only_if_its_shapes_differ():
    one, _ = scene(SHAPES, ASSETS)
    same, _ = scene(SHAPES.replace('pos="-1.2 1.2 0"', 'pos="-1.2 1.2 .3" rgba="1 0 0 1"'), ASSETS)
    other, _ = scene(SHAPES + '<geom size=".1"/>', ASSETS)
    assert model_fingerprint(one) == model_fingerprint(same) != model_fingerprint(other)


def test_different_models_are_drawn_in_one_call():
    models = [scene('<geom size="1" rgba="1 0 0 1"/>'), scene('<geom type="box" size="1 1 1" rgba="0 0 1 1"/>')]
    scenes = [Still(*models[index]) for index in (0, 1, 0)]
    pictures = ScenePainter(Viewpoint("eye"), (9, 9), num_scenes=3).draw(scenes)
    assert [centre(picture) for picture in pictures] == [(255, 0, 0), (0, 0, 255), (255, 0, 0)]


# --- cameras -----------------------------------------------------------------------------------------------------


def test_a_free_camera_looks_at_its_point():
    model, data = scene('<geom pos="1 2 3" size=".2" rgba="1 0 0 1"/>')
    for azimuth in (0, 130):
        picture = draw(model, data, Viewpoint(lookat=(1, 2, 3), distance=3, azimuth=azimuth, elevation=-20))
        assert centre(picture) == (255, 0, 0)


def test_a_camera_follows_a_body():
    model, data = scene('<body name="b"><freejoint/><geom size=".2" rgba="1 0 0 1"/></body>')
    data.qpos[:3] = [5, 6, 7]
    mujoco.mj_forward(model, data)
    assert centre(draw(model, data, Viewpoint(track="b", distance=2))) == (255, 0, 0)
    assert centre(draw(model, data, Viewpoint(lookat=(0, 0, 0), distance=2))) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"camera": "eye", "distance": 2}, r"give camera='eye' or \['distance'\], not both"),
        ({"lookat": (1, 2)}, r"lookat must be a point of three coordinates, got \(1, 2\)"),
        ({"distance": 0}, "distance must be more than 0 metres, got 0"),
    ],
)
def test_wrong_viewpoints_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Viewpoint(**arguments)


def test_unknown_cameras_and_bodies_are_refused():
    model, _ = scene('<body name="b"><geom size="1"/></body>')
    with pytest.raises(ValueError, match=r"no camera 'front'; it has \['eye'\] \(numbers 0 to 0\)"):
        Viewpoint("front").camera_of(model)
    with pytest.raises(ValueError, match=r"no body 7; it has \['world', 'b'\]"):
        Viewpoint(track=7).camera_of(model)


def test_a_model_without_cameras_asks_for_a_free_one():
    model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1"/></worldbody></mujoco>')
    with pytest.raises(ValueError, match="the model has no camera, so not 'front'; give lookat, distance"):
        Viewpoint("front").camera_of(model)


def test_the_default_viewpoint_is_the_environments_own():
    expected = {
        gym.make("HalfCheetah-v5"): Viewpoint(camera=0),
        gym.make("Pusher-v5"): Viewpoint(distance=4.0),
        gym.make("InvertedPendulum-v5"): Viewpoint(distance=2.04),
        gym.make("Humanoid-v5", camera_id=1): Viewpoint(camera=1),
    }
    for env, viewpoint in expected.items():
        assert default_viewpoint(env, env.unwrapped.model) == viewpoint


# --- wrappers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pusher():
    env = RayTracedPixels(gym.make("Pusher-v5"), resolution=(24, 32))
    yield env
    env.close()


def test_observations_are_pictures(pusher):
    first, _ = pusher.reset(seed=0)
    assert first in pusher.observation_space
    assert first.shape == (24, 32, 3)
    np.testing.assert_array_equal(first, pusher.reset(seed=0)[0])
    for _ in range(5):
        after, *_ = pusher.step(np.ones(7))
    assert (after != first).any()
    np.testing.assert_array_equal(pusher.render(), after)


def test_pictures_are_kept_when_the_next_are_drawn(pusher):
    first, _ = pusher.reset(seed=0)
    before = first.copy()
    for _ in range(5):
        pusher.step(np.ones(7))
    np.testing.assert_array_equal(first, before)


def test_an_environment_is_made_again_from_its_spec(pusher):
    spec = copy.deepcopy(pusher.spec)
    again = gym.make(spec)
    np.testing.assert_array_equal(again.reset(seed=3)[0], pusher.reset(seed=3)[0])


def test_the_own_observation_is_kept_beside_the_picture():
    bare = gym.make("Reacher-v5")
    env = RayTracedPixels(gym.make("Reacher-v5"), resolution=(8, 8), keep_observation=True)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    np.testing.assert_array_equal(observation["state"], bare.reset(seed=0)[0])
    named = gym.wrappers.TransformObservation(
        gym.make("Reacher-v5"), lambda x: {"image": x}, gym.spaces.Dict(image=bare.observation_space)
    )
    with pytest.raises(ValueError, match=r"has an entry 'image' of its own, .* use keep_observation=False"):
        RayTracedPixels(named, keep_observation=True)


def test_films_are_recorded(tmp_path, pusher):
    pytest.importorskip("moviepy", reason="Gymnasium records films with moviepy")
    env = gym.wrappers.RecordVideo(pusher, str(tmp_path), disable_logger=True)
    env.reset(seed=0)
    env.step(np.zeros(7))
    env.close()
    assert list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("resolution", [(0, 8), (8.5, 8), (8,), 64])
def test_wrong_resolutions_are_refused(resolution):
    with pytest.raises(ValueError, match="resolution must be two integers of at least 1"):
        RayTracedPixels(gym.make("Pusher-v5"), resolution=resolution)


def test_wrong_arguments_are_refused():
    with pytest.raises(NoMujocoError, match=r"mujoco.MjModel .* got gymnasium\.envs\.classic_control"):
        RayTracedPixels(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="samples must be an integer of at least 1, got 0"):
        RayTracedPixels(gym.make("Pusher-v5"), samples=0)
    with pytest.raises(ValueError, match=r"no camera 'front'; it has \['track'\]"):
        RayTracedPixels(gym.make("Ant-v5"), "front")
    with pytest.raises(ValueError, match=r"take .* bytes, more than .* raise ScenePainter\.max_frame_bytes"):
        RayTracedPixels(gym.make("Pusher-v5"), resolution=(10**6, 10**6))


def make_vector(mode, num_envs=3, **options):
    vector = gym.vector.SyncVectorEnv(
        [lambda: gym.make("Pusher-v5", max_episode_steps=2)] * num_envs, autoreset_mode=mode
    )
    return VectorRayTracedPixels(vector, resolution=(16, 16), **options)


def test_a_batch_shows_the_same_as_single_environments():
    vector = make_vector(AutoresetMode.NEXT_STEP)
    pictures, _ = vector.reset(seed=[4, 5, 6])
    assert pictures in vector.observation_space
    for seed, picture in zip((4, 5, 6), pictures, strict=True):
        single = RayTracedPixels(gym.make("Pusher-v5"), resolution=(16, 16))
        np.testing.assert_array_equal(single.reset(seed=seed)[0], picture)
    np.testing.assert_array_equal(np.stack(vector.render()), pictures)
    vector.close()


@pytest.mark.parametrize("keep", [False, True])
def test_final_observations_are_pictures_of_the_end(keep):
    same, later = (
        make_vector(mode, keep_observation=keep) for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
    )
    image = (lambda observation: observation["image"]) if keep else (lambda observation: observation)
    actions = np.ones((3, 7), np.float32)
    for vector in (same, later):
        vector.reset(seed=0)
        vector.step(actions)
    first, _, _, truncated, infos = same.step(actions)
    last, *_ = later.step(actions)
    assert truncated.all()
    for index in range(3):
        np.testing.assert_array_equal(image(infos["final_obs"][index]), image(last)[index])
    assert (image(first) != image(last)).any(), "the observation is of the next episode"
    again, *_ = later.step(actions)
    assert again is not None


def test_vector_environments_in_other_processes_are_refused():
    with pytest.raises(TypeError, match=r"must be a gymnasium\.vector\.SyncVectorEnv, got PusherEnv; wrap each single"):
        VectorRayTracedPixels(gym.make("Pusher-v5"))


# --- environments of other packages ------------------------------------------------------------------------------

FOREIGN = [
    ("gymnasium_robotics", "AdroitHandDoor-v1"),
    ("gymnasium_robotics", "PointMaze_UMaze-v3"),
    pytest.param("ogbench", "cube-single-v0", marks=pytest.mark.slow),
    ("ogbench", "pointmaze-medium-v0"),
    ("shimmy", "dm_control/finger-spin-v0"),
    ("shimmy", "dm_control/manipulator-bring_ball-v0"),
    ("shimmy", "dm_control/quadruped-run-v0"),
]


def make_foreign(package, name):
    module = pytest.importorskip(package, reason=f"{name} needs the package {package}")
    gym.register_envs(module)
    if name.startswith("dm_control"):
        pytest.importorskip("dm_control", reason=f"{name} needs the package dm-control")
    return gym.make(name)


@pytest.mark.parametrize(("package", "name"), FOREIGN)
def test_environments_of_other_packages_are_drawn(package, name):
    env = RayTracedPixels(make_foreign(package, name), resolution=(32, 32))
    first, _ = env.reset(seed=0)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    env.action_space.seed(0)
    for _ in range(10):
        after, *_ = env.step(env.action_space.sample())
    assert (after != first).any()
    env.close()


def test_environments_of_dm_control_are_drawn_directly():
    suite = pytest.importorskip("dm_control.suite", reason="needs the package dm-control")
    pytest.importorskip("shimmy", reason="dm_control's environments are converted by shimmy")
    env = RayTracedPixels(suite.load("cheetah", "run"), resolution=(16, 16), keep_observation=True)
    observation, _ = env.reset(seed=0)
    assert sorted(observation) == ["image", "position", "velocity"]
    assert observation in env.observation_space


COMPARE = """
import importlib, json, sys, warnings
warnings.filterwarnings("ignore")
import gymnasium as gym, mujoco, numpy as np
from equiact.envs.mujoco_envs.cameras import default_viewpoint
from equiact.envs.mujoco_envs.mujoco_scene import MujocoScene
from equiact.envs.mujoco_envs.scene_painter import ScenePainter
package, name = sys.argv[1:]
gym.register_envs(importlib.import_module(package))
env = gym.make(name)
env.reset(seed=0)
env.action_space.seed(0)
for _ in range(5):
    env.step(env.action_space.sample())
scene = MujocoScene(env)
viewpoint = default_viewpoint(env, scene.model)
renderer = mujoco.Renderer(scene.model, 96, 96)
renderer.update_scene(scene.data, viewpoint.camera_of(scene.model))
theirs = renderer.render().astype(int)
ours = ScenePainter(viewpoint, (96, 96), 2).draw([scene])[0]
print(json.dumps({"difference": float(np.abs(theirs - ours).mean()), "spread": float(theirs.std())}))
"""


def has_osmesa():
    probe = "import mujoco; mujoco.GLContext(8, 8)"
    environment = {**os.environ, "MUJOCO_GL": "osmesa"}
    return subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("gymnasium", "HalfCheetah-v5"),
        ("gymnasium", "Humanoid-v5"),
        ("ogbench", "scene-v0"),
        ("shimmy", "dm_control/quadruped-escape-v0"),
        *FOREIGN,
    ],
)
def test_pictures_are_close_to_those_of_mujocos_renderer(package, name):
    if not has_osmesa():
        pytest.skip("MuJoCo's own renderer needs OpenGL here: install Debian's package libosmesa6 to compare with it")
    pytest.importorskip(package, reason=f"{name} needs the package {package}")
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COMPARE), package, name],
        env={**os.environ, "MUJOCO_GL": "osmesa"},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["spread"] > 10
    assert result["difference"] < 4


# --- the benchmark -----------------------------------------------------------------------------------------------


def test_scenes_of_the_benchmark_name_a_package(tmp_path):
    with pytest.raises(ValueError, match=r"expected --scenes as \"PACKAGE ID\", .* got 'Pusher-v5'"):
        BenchmarkPixels(scenes=("Pusher-v5",), results_dir=tmp_path).run()


@pytest.mark.slow
def test_a_scene_that_cannot_be_measured_says_what_is_needed(tmp_path):
    with pytest.raises(RendererError, match=r"'gymnasium Pushr-v5' could not be measured: .*Pusher-v5.* libosmesa6"):
        measure_in_process("gymnasium Pushr-v5", 7, PixelsBenchmarkConfig(rounds=1), str(tmp_path), silent)


@pytest.mark.slow
def test_the_benchmark_measures_both_renderers(tmp_path):
    if not has_osmesa():
        pytest.skip("the benchmark compares with MuJoCo's renderer under OSMesa: install Debian's package libosmesa6")
    places = {"results_dir": tmp_path, "work_dir": tmp_path / "work"}
    BenchmarkPixels(scenes=("gymnasium Reacher-v5",), num_seeds=2, rounds=1, **places).run()
    figures = summarize_records(Records.load(tmp_path / "pixels.jsonl"))
    for resolution in (64, 128):
        of = {name.split(": ")[1]: each for name, each in figures.items() if f"{resolution} × {resolution}" in name}
        assert of["times_faster"].mean > 0
        assert of["tracer_cpu_ms"].mean > 0
        assert of["difference"].mean < 3
        assert len(of["start_s"].seeds) == 2
