"""Scores what was heard of the speech: a line of figures for each clip.

usage: score.py SPEECH.wav HEARD.wav LEAD_FRAMES

HEARD is on the same clock as the speech, which began after LEAD_FRAMES. Each line: seconds from mouth
to ear, PESQ-WB (ITU-T P.862.2, 1.0 to 4.64), ViSQOL in speech mode (1 to 5) and in audio mode (1 to
4.75), ESTOI (0 to 1; how much of it is understood follows from that). A clip in which the speech is not
found at all has "-" for its delay and the least of each.
"""

import sys

import numpy as np
from pesq import PesqError, pesq
from pystoi import stoi
from scipy.io import wavfile
from scipy.signal import fftconvolve, resample_poly
from visqol import VisqolApi

RATE = 48_000
CLIP = 8 * RATE
LAG_MAX = 2 * RATE


def lag(clip, heard):
    """Frames by which `heard`, which begins with the clip and lasts LAG_MAX longer, is behind it: the median
    of its seconds, as the delay may move. None where not one of them is found."""
    found = []
    for start in range(0, CLIP, RATE):
        said, around = clip[start : start + RATE], heard[start : start + RATE + LAG_MAX]
        likeness = fftconvolve(around, said[::-1], "valid")
        at = int(np.argmax(likeness))
        energy = np.linalg.norm(said) * np.linalg.norm(around[at : at + RATE])
        if energy > 0 and likeness[at] > 0.5 * energy:
            found.append(at)
    return int(np.median(found)) if found else None


def visqol(mode):
    api = VisqolApi()
    api.create(mode=mode)
    return api


def main():
    speech, heard = (wavfile.read(path)[1].astype(float) / 32768 for path in sys.argv[1:3])
    lead = int(sys.argv[3])
    heard = np.pad(heard, (0, max(0, lead + len(speech) + LAG_MAX - len(heard))))
    modes = visqol("speech"), visqol("audio")
    for start in range(0, len(speech) - CLIP + 1, CLIP):
        clip = speech[start : start + CLIP]
        around = heard[lead + start :][: CLIP + LAG_MAX]
        behind = lag(clip, around)
        if behind is None:
            print("- 1 1 1 0", flush=True)
            continue
        found = around[behind : behind + CLIP]
        narrow = [resample_poly(signal, 1, 3) for signal in (clip, found)]
        try:
            said = pesq(16_000, *narrow, "wb")
        except PesqError:
            said = 1.0  # nothing that it takes for speech
        like_speech = modes[0].measure_from_arrays(*narrow, sample_rate=16_000).moslqo
        like_sound = modes[1].measure_from_arrays(clip, found, sample_rate=RATE).moslqo
        understood = stoi(*narrow, 16_000, extended=True)
        print(behind / RATE, said, like_speech, like_sound, understood, flush=True)


main()
