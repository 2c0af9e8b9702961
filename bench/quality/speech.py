"""Writes the speech that the bench speaks, 48 kHz mono, and says on standard output what it is.

usage: speech.py OUT.wav CLIPS

Clips of 8 s, one after the other, each of the same loudness. Of what is there, the first is taken:
people (Debian's asterisk-core-sounds-*-g722 and ffmpeg: four speakers in four languages, 16 kHz),
voices of espeak-ng, or a buzz that is shaped like speech.
"""

import glob
import os
import shutil
import subprocess
import sys

import numpy as np
from scipy.io import wavfile
from scipy.signal import lfilter, resample_poly

RATE = 48_000
CLIP = 8 * RATE
LOUDNESS = 0.05  # -26 dBFS, what ITU-T P.56 gives telephone speech
PEOPLE = "/usr/share/asterisk/sounds/*/demo-instruct.g722"
VOICES = ["en-us", "en-gb+f3", "de+m3", "fr+f4", "en-gb+m7", "it+f2", "es+m1", "en-us+f5"]
TEXT = (
    "The quick brown fox jumps over the lazy dog, while six big devils from Japan quickly forgot how to waltz. "
    "Please call Stella, and ask her to bring these things with her from the store. "
    "A large size in stockings is hard to sell. The birch canoe slid on the smooth planks."
)


def decoded(argv, text=None):
    out = subprocess.run(argv, input=text, capture_output=True, check=True).stdout
    return np.frombuffer(out, np.int16).astype(float) / 32768


def people(clips):
    """The same minute and a half of instructions, read by one person of each language."""
    recordings = sorted({os.path.realpath(path) for path in glob.glob(PEOPLE)})  # each has several names
    if not recordings or not shutil.which("ffmpeg"):
        return None
    found = []
    for n in range(clips):
        recording, start = recordings[n % len(recordings)], 2 + 9 * (n // len(recordings))
        read = ["ffmpeg", "-v", "error", "-f", "g722", "-i", recording, "-ss", str(start), "-t", "8"]
        found.append(decoded(read + ["-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]))
    return f"people, {len(recordings)} speakers (asterisk-core-sounds)", found


def espeak(clips):
    if not shutil.which("espeak-ng"):
        return None
    speak = lambda voice: decoded(["espeak-ng", "-v", voice, "--stdout", TEXT])[64:]  # without its header
    found = [resample_poly(speak(VOICES[n % len(VOICES)]), 320, 147) for n in range(clips)]
    return f"espeak-ng, {min(clips, len(VOICES))} voices", found


def buzz(clips):
    """Pulses through three formants that change with each syllable."""
    found = []
    for n in range(clips):
        random = np.random.RandomState(n)
        sound = []
        for _ in range(32):
            length = RATE // 4
            pitch = random.uniform(80, 250) * np.linspace(1.1, 0.9, length)
            pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
            source = (pulses + 0.01 * random.randn(length)) * np.hanning(length)
            for formant in (random.uniform(300, 800), random.uniform(900, 2300), random.uniform(2400, 3300)):
                decay, turn = np.exp(-np.pi * 120 / RATE), 2 * np.pi * formant / RATE
                source = lfilter([1], [1, -2 * decay * np.cos(turn), decay**2], source)
            sound.append(source / np.abs(source).max())
        found.append(np.concatenate(sound))
    return "a buzz shaped like speech (neither people nor espeak-ng are installed)", found


def levelled(clip):
    clip = np.pad(clip[:CLIP], (0, max(0, CLIP - len(clip))))
    return np.clip(clip * LOUDNESS / np.sqrt(np.mean(clip**2)), -1, 1)


def main():
    path, clips = sys.argv[1], int(sys.argv[2])
    what, found = people(clips) or espeak(clips) or buzz(clips)
    wavfile.write(path, RATE, (np.concatenate([levelled(clip) for clip in found]) * 32767).astype(np.int16))
    print(what)


main()
