"""Captures from the microphone and sends the samples to raw_server.py.

The kind of program that AudioStreamer's --raw option talks to: no header, no
format, only bytes of 44.1 kHz mono 16-bit samples.
"""
import argparse
import socket
import time
import wave

RATE = 44100
CHANNELS = 1
CHUNK = 441

parser = argparse.ArgumentParser()
parser.add_argument("host")
parser.add_argument("port", type=int)
parser.add_argument("--protocol", choices=["udp", "tcp"], default="udp")
parser.add_argument("--wav", help="send this file instead of the microphone")
args = parser.parse_args()


def open_microphone():
    import pyaudio

    audio = pyaudio.PyAudio()
    stream = audio.open(format=pyaudio.paInt16, channels=CHANNELS, rate=RATE,
                        input=True, frames_per_buffer=CHUNK)
    return lambda: stream.read(CHUNK, exception_on_overflow=False)


def open_wav(path):
    wav = wave.open(path, "rb")
    assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (RATE, CHANNELS, 2)
    start = time.monotonic()
    sent = 0

    def read():
        nonlocal sent
        sent += CHUNK
        time.sleep(max(0, start + sent / RATE - time.monotonic()))
        return wav.readframes(CHUNK)

    return read


if args.protocol == "tcp":
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
else:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((args.host, args.port))

read = open_wav(args.wav) if args.wav else open_microphone()
print("Streaming...")
try:
    while True:
        data = read()
        if not data:
            break
        sock.sendall(data)
except (KeyboardInterrupt, ConnectionError):
    pass
sock.close()
