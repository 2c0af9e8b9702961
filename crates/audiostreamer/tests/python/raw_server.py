"""Receives samples from raw_client.py and plays them.

The kind of program that AudioStreamer's --raw option talks to: no header, no
format, only bytes of 44.1 kHz mono 16-bit samples.
"""
import argparse
import socket
import wave

RATE = 44100
CHANNELS = 1
CHUNK = 441

parser = argparse.ArgumentParser()
parser.add_argument("host")
parser.add_argument("port", type=int)
parser.add_argument("--protocol", choices=["udp", "tcp"], default="udp")
parser.add_argument("--wav", help="write this file instead of playing")
args = parser.parse_args()


def open_speaker():
    import pyaudio

    audio = pyaudio.PyAudio()
    stream = audio.open(format=pyaudio.paInt16, channels=CHANNELS, rate=RATE,
                        output=True, frames_per_buffer=5 * CHUNK)
    return stream.write, stream.close


def open_wav(path):
    wav = wave.open(path, "wb")
    wav.setframerate(RATE)
    wav.setnchannels(CHANNELS)
    wav.setsampwidth(2)
    return wav.writeframes, wav.close


def receive_udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((args.host, args.port))
    while True:
        data, _ = sock.recvfrom(65536)
        yield data


def receive_tcp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((args.host, args.port))
    sock.listen(1)
    connection, _ = sock.accept()
    rest = b""
    while True:
        data = connection.recv(CHUNK * 2)
        if not data:
            break
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield data[:whole]


play, finish = open_wav(args.wav) if args.wav else open_speaker()
print("Waiting...")
try:
    for data in receive_tcp() if args.protocol == "tcp" else receive_udp():
        play(data)
except KeyboardInterrupt:
    pass
finish()
