"""Long forms of what tests/speech does with few voices and short recordings"""
import pytest
from test_model_reuse import load_each_model_once

from named_talks import check_links, check_names, talks_through_a_batch
from readers import speakers_of_a_talk
from whisperx_texts import check_same_text, long_utterances

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def ten_talks(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks")
    return talks_through_a_batch(folder, shared_data, talks=10, seconds=45, known_from=(1, 3, 5, 7, 9))


def test_ten_talks_get_ten_right_names(ten_talks): check_names(ten_talks)


def test_link_finds_the_same_people_in_ten_talks(ten_talks, tmp_path): check_links(ten_talks, tmp_path)


@pytest.mark.parametrize("voices, channel, seconds", [(8, "clean", 240), (5, "telephone", 200)])
def test_long_talks_of_many_people(shared_data, voices, channel, seconds):
    assert speakers_of_a_talk(voices, channel, seconds) == voices


def test_the_same_window_gives_whisperxs_text_of_five_utterances(real_whisper, shared_data):
    check_same_text(real_whisper("tiny.en"), long_utterances(shared_data, 5))


def test_twelve_files_load_each_model_once(root, tmp_path): load_each_model_once(root, tmp_path, 12)
