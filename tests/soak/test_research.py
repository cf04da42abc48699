"""The long form of a sweep that tests/research runs with few points"""
import pytest

from sweep_points import check_stage_runs, clips_of_the_sample

pytestmark = pytest.mark.soak


def test_of_48_points_each_stage_runs_where_its_settings_differ(sample, tmp_path):
    (tmp_path / "clips").mkdir()
    clips = clips_of_the_sample(tmp_path / "clips", sample)
    check_stage_runs(clips, tmp_path, speakers=[None, 1, 2, 3], shortest=[0.1, 2.0, 3.0], model="base")
