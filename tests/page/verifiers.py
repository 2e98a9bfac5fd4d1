"""Takes the verifiers out of a page and has each accept its known answer and refuse all others."""

import pathlib
import re
import subprocess
import sys
import tempfile

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = '{"id":"evt_1","type":"license.created","data":{}}'
TIME = 1776254400
DATE = "Wed, 15 Apr 2026 12:00:00 GMT"
KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
OVER_BODY = "beb5490cb2c6db9fa17a398b7ff4a9736777be4cd74329b5285f9c52bab9eb24"
OVER_TIME = "eb98f4efc48a5a10eab0af48cb77d1d1b877074847e028ca9d4c9c8df94feab7"
OVER_ID = "v1,vvk6BIiHcCU3BLyHLaAr3GguUm5HwDhaIodM84FgpJs="
DIGEST = "sha-256=4uhcAtsggxP8FTJhHqw7LlP30X8lwdZ0xz1bqonqdj0="
HTTP = "T0HHruE7Zl7oK0mhIAGMtJkvvY796MDmF10NZA406nK4wW/DfLQsteYY29GNQai+QfAgTDRyXXj4NyLJ0FrhAw=="

SCHEMES = {
    "Signature over the body": "body",
    "Signature over time and body": "timed",
    "Signature over id, time and body": "standard",
    "HTTP signature with a public key": "keygen",
}
# (secret or key, time of the receiver, signature, body), and whether it verifies.
SIGNATURES = {"body": OVER_BODY, "timed": OVER_TIME, "standard": OVER_ID, "keygen": HTTP}


def cases(scheme):
    key = KEY if scheme == "keygen" else SECRET
    good = SIGNATURES[scheme]
    other_key = key.replace("f3ce", "f3cf").replace("AAEC", "AAED")
    yield key, TIME, good, BODY, True
    yield key, TIME, good, BODY.replace("evt_1", "evt_2"), False
    yield key, TIME, good[:-4] + "AAA=" if scheme != "body" else good[:-1] + "5", BODY, False
    yield key, TIME, good.upper() if scheme in ("body", "timed") else "", BODY, False
    yield key, TIME, "", BODY, False
    yield other_key, TIME, good, BODY, False
    if scheme != "body":
        yield key, TIME + 300, good, BODY, True
        yield key, TIME + 301, good, BODY, False
        yield key, TIME - 301, good, BODY, False


def quoted(text):
    """A literal that all of these languages read alike."""
    assert "\\" not in text and "'" not in text
    return '"' + text.replace('"', '\\"') + '"'


def calls(language, scheme):
    """The expression of each case, in the language."""
    for key, now, signature, body, _ in cases(scheme):
        key, signature, body = quoted(key), quoted(signature), quoted(body)
        standard = {"webhook-id": "evt_1", "webhook-timestamp": str(TIME)}
        keygen = {"host": "receiver.example", "date": DATE, "digest": DIGEST}
        parameters = f'"keyid=\\"a\\", signature=\\"" + {signature} + "\\""'
        if language == "php":
            parameters = parameters.replace(" + ", " . ")
        headers = standard if scheme == "standard" else keygen
        named = ("webhook-signature", signature) if scheme == "standard" else ("keygen-signature", parameters)
        arrow = {"js": ": ", "python": ": ", "php": " => ", "ruby": " => "}.get(language, ", ")
        pairs = [f'"{name}"{arrow}"{value}"' for name, value in headers.items()]
        pairs.append(f'"{named[0]}"{arrow}{named[1]}')
        table = {"php": "[%s]", "ruby": "{%s}"}.get(language, "{%s}") % ", ".join(pairs)
        bytes_of = {"js": "Buffer.from(%s)", "python": "%s.encode()", "go": "[]byte(%s)"}.get(language, "%s") % body
        yield {
            "js": {
                "body": f"verifyBody({key}, {signature}, {bytes_of})",
                "timed": f'verifyTimed({key}, "{TIME}", {signature}, {bytes_of}, {now})',
                "standard": f"verifyStandard({key}, {table}, {bytes_of}, {now})",
                "keygen": f'verifyKeygen({key}, "/hooks", {table}, {bytes_of}, {now}000)',
            },
            "python": {
                "body": f"verify_body({key}, {signature}, {bytes_of})",
                "timed": f'verify_timed({key}, "{TIME}", {signature}, {bytes_of}, {now})',
                "standard": f"verify_standard({key}, {table}, {bytes_of}, {now})",
                "keygen": f'verify_keygen({key}, "/hooks", {table}, {bytes_of}, {now})',
            },
            "php": {
                "body": f"verify_body({key}, {signature}, {bytes_of})",
                "timed": f'verify_timed({key}, "{TIME}", {signature}, {bytes_of}, {now})',
                "standard": f"verify_standard({key}, {table}, {bytes_of}, {now})",
                "keygen": f'verify_keygen({key}, "/hooks", {table}, {bytes_of}, {now})',
            },
            "ruby": {
                "body": f"verify_body({key}, {signature}, {bytes_of})",
                "timed": f'verify_timed({key}, "{TIME}", {signature}, {bytes_of}, {now})',
                "standard": f"verify_standard({key}, {table}, {bytes_of}, {now})",
                "keygen": f'verify_keygen({key}, "/hooks", {table}, {bytes_of}, Time.at({now}))',
            },
            "go": {
                "body": f"verifyBody({key}, {signature}, {bytes_of})",
                "timed": f'verifyTimed({key}, "{TIME}", {signature}, {bytes_of}, {now})',
                "standard": f"verifyStandard({key}, headers({', '.join(pairs)}).Get, {bytes_of}, {now})",
                "keygen": f'verifyKeygen({key}, "/hooks", "receiver.example", headers({", ".join(pairs)}), '
                f"{bytes_of}, time.Unix({now}, 0))",
            },
        }[language][scheme]


def program(language, block, expressions):
    """The page's code, and a line for each case that says what it answers."""
    if language == "go":
        head, rest = block.split("import (", 1)
        imports, code = rest.split(")", 1)
        names = {line.strip() for line in imports.splitlines() if line.strip()}
        names |= {'"fmt"', '"net/http"'}
        lines = "\n".join(f"\tfmt.Println({expression})" for expression in expressions)
        return f"""{head}import (
{chr(10).join(sorted(names))}
){code}
func headers(pairs ...string) http.Header {{
	all := http.Header{{}}
	for at := 0; at < len(pairs); at += 2 {{
		all.Set(pairs[at], pairs[at+1])
	}}
	return all
}}

func main() {{
{lines}
}}
"""
    line = {"js": "console.log(%s)", "python": "print(%s)", "ruby": "puts(%s ? true : false)",
            "php": "echo %s ? 'true' : 'false', PHP_EOL;"}[language]
    return block + "\n" + "\n".join(line % expression for expression in expressions) + "\n"


RUN = {
    "js": (".cjs", ["node"]),
    "python": (".py", ["/usr/bin/python3"]),
    "php": (".php", ["php"]),
    "ruby": (".rb", ["ruby"]),
    "go": (".go", ["go", "run"]),
}


def answers(language, source):
    suffix, command = RUN[language]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "verifier" + suffix)
        file.write_text(source)
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        return [done.stderr.strip() or f"exit code {done.returncode}"]
    return [line.strip().lower() for line in done.stdout.splitlines()]


def main():
    page = pathlib.Path(sys.argv[1]).read_text()
    passed = failed = 0
    for heading, scheme in SCHEMES.items():
        section = page.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
        blocks = dict(re.findall(r"```(\w+)\n(.*?)```", section, re.S))
        for language in RUN:
            expected = [str(verifies).lower() for *_, verifies in cases(scheme)]
            source = program(language, blocks[language], list(calls(language, scheme)))
            given = answers(language, source)
            if given == expected:
                passed += 1
            else:
                failed += 1
                print(f"{heading}, {language}: expected {expected}, got {given}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
