#!/usr/bin/env python3
"""Render the built-in chat templates and compare with what the families' prompts look like.

    tests/golden/render_chat_templates.py

chat_templates.json holds the templates as `merge` writes them (test_vocab holds them against it)
and the prompt that each must give for one conversation, written by hand from the formats'
descriptions. Jinja is set up as transformers does it.
"""
import json
import pathlib
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

golden = json.loads((pathlib.Path(__file__).parent / "chat_templates.json").read_text())
jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
wrong = 0
for name, one in golden["templates"].items():
    values = {k: v for k, v in golden.items() if k != "templates"}
    text = jinja.from_string(one["template"]).render(**values)
    print(name, "ok" if text == one["rendered"] else f"gives {text!r}")
    wrong += text != one["rendered"]
sys.exit(1 if wrong else 0)
