"""What says how good speech sounds: wideband PESQ (ITU-T P.862.2) and STOI, by their packages on PyPI.

    judge.py FOLDER speech   writes FOLDER/said.f32 (48 kHz, mono) and FOLDER/pieces.json: what is to be said
    judge.py FOLDER judge    reads names of files like said.f32, one a line; answers each with a line of JSON

What is said: two pieces of each of five voices in as many languages, about 7 s each, from recordings at 16 kHz that
Debian brings for Asterisk, each at -26 dBFS where there is speech, with a second of faint noise between them. A piece
before them warms up what adapts, and does not count.
"""

import json
import pathlib
import sys

import numpy as np
import scipy.signal as sig

VOICES = ["en_US_f_Allison", "it_IT_m_Carlo", "es_MX_f_Allison", "fr_CA_f_June", "ru_RU_f_IvrvoiceRU"]
FILE = "/usr/share/asterisk/sounds/{}/demo-instruct.g722"
RATE, LOW = 48_000, 16_000
PIECE, PAUSE = 7.0, 1.0
LEVEL, NOISE = -26.0, -72.0
# What was heard may be so much later than what was said.
LATEST = 1.0


def recording(voice):
    from G722 import G722

    data = pathlib.Path(FILE.format(voice)).read_bytes()
    return np.asarray(G722(LOW, 64_000).decode(data), dtype=float) / 32_768


def levels(samples):
    """Of each 20 ms, in dB."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def pieces(samples, count):
    """Cuts where it is quietest around each end."""
    found, start = [], 0
    for _ in range(count):
        first, last = start + int((PIECE - 1) * LOW), start + int((PIECE + 1) * LOW)
        quiet = np.convolve(samples[first:last] ** 2, np.ones(LOW // 20), mode="valid")
        end = first + int(np.argmin(quiet)) + LOW // 40
        found.append(samples[start:end])
        start = end
    return found


def at_level(piece):
    level = levels(piece)
    speech = np.repeat(level > level.max() - 30, 320)
    loud = np.sqrt(np.mean(piece[: len(speech)][speech] ** 2))
    piece = piece * 10 ** (LEVEL / 20) / loud
    fade = np.linspace(0, 1, LOW // 100)
    piece[: len(fade)] *= fade
    piece[-len(fade) :] *= fade[::-1]
    return piece


def write_speech(folder):
    voices = [pieces(recording(voice), 3) for voice in VOICES]
    order = [voices[0][2]] + [voice[turn] for turn in range(2) for voice in voices]
    parts, marks, at = [np.zeros(int(PAUSE * LOW))], [], int(PAUSE * LOW)
    for piece in order:
        marks.append([at, at + len(piece)])
        parts += [at_level(piece), np.zeros(int(PAUSE * LOW))]
        at += len(piece) + int(PAUSE * LOW)
    said = sig.resample_poly(np.concatenate(parts), RATE // LOW, 1)
    said += np.random.default_rng(7).normal(0, 10 ** (NOISE / 20), len(said))
    # In blocks of 20 ms, whole.
    said = np.pad(said, (0, -len(said) % 960))
    said.clip(-1, 1).astype("<f4").tofile(folder / "said.f32")
    (folder / "pieces.json").write_text(json.dumps(marks[1:]))


def low(file):
    return sig.resample_poly(np.fromfile(file, "<f4").astype(float), 1, RATE // LOW)


def delay(said, heard):
    """How much later `said` is in `heard`, in samples: where they are most alike."""
    alike = sig.fftconvolve(heard, said[::-1], mode="valid")
    energy = sig.fftconvolve(heard**2, np.ones(len(said)), mode="valid")
    return int(np.argmax(alike / np.sqrt(np.maximum(energy, 1e-9))))


def judge(said, heard, marks):
    from pesq import pesq
    from pystoi import stoi

    margin, rows = LOW // 4, []
    heard = np.pad(heard, (0, max(0, len(said) + int(LATEST * LOW) - len(heard))))
    for start, end in marks:
        start, end = start - margin, end + margin
        piece, around = said[start:end], heard[start : end + int(LATEST * LOW)]
        later = delay(piece, around)
        there = around[later : later + len(piece)]
        rows.append([pesq(LOW, piece, there, "wb"), stoi(piece, there, LOW), later * 1e3 / LOW])
    rows = np.array(rows)
    return {"pesq": rows[:, 0].mean(), "stoi": rows[:, 1].mean(), "delay_ms": float(np.median(rows[:, 2]))}


def main():
    folder, what = pathlib.Path(sys.argv[1]), sys.argv[2]
    if what == "speech":
        write_speech(folder)
        return
    said, marks = low(folder / "said.f32"), json.loads((folder / "pieces.json").read_text())
    for line in sys.stdin:
        print(json.dumps(judge(said, low(line.strip()), marks)), flush=True)


main()
