"""What a report hides: canaries under names, in known forms and wherever else they stand; and what it leaves alone."""

import json

import pytest

from ganger.cli.redaction import HIDDEN, Redactor, is_secret

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJlLWNhbmFyeQ"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nCANARYcanary\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "HF_TOKEN",
        "HFTOKEN",
        "password",
        "PGPASSWORD",
        "dbPassword",
        "AWS_SECRET_ACCESS_KEY",
        "apiKey",
        "api-key",
        "client.secret",
        "DATABASE_DSN",
        "authorization",
    ],
)
def test_these_names_hold_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "tokensPerSample",
        "tokenizer",
        "TOKENIZERS_PARALLELISM",
        "author",
        "keep",
        "passes",
        "GANGER_CONTROL_TOKEN",
    ],
)
def test_these_names_hold_none(name):
    assert not is_secret(name)


def test_a_manifest_keeps_what_it_says_without_its_secrets():
    manifest = {
        "metadata": {
            "name": "digits",
            "managedFields": [{"manager": "CANARY-manager"}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": '{"x":"CANARY-applied"}',
                "team/slack-webhook-url": "https://hooks/CANARY-hook",
            },
        },
        "spec": {
            "config": {
                "lr": 0.1,
                "wandbApiKey": "CANARY-config",
                "nested": {"password": "CANARY-nested"},
                "pin_token": 123456,
            },
            "env": [
                {"name": "HF_TOKEN", "value": "CANARY-env"},
                {"name": "NCCL_DEBUG", "value": "INFO"},
                {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                {"name": "STORE", "value": "s3://me:CANARY-url@host/bucket"},
            ],
            "script": ["train.py", "--api-key", "CANARY-argument", "--token=CANARY-joined", "--epochs", "3"],
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"name": "s", "secret": {"secretName": "mine"}}],
        },
        "status": {"message": "refused: password=CANARY-message"},
    }

    hidden = Redactor().manifest(manifest)

    assert "CANARY" not in json.dumps(hidden)
    assert "123456" not in json.dumps(hidden)
    assert {"lr": 0.1, "wandbApiKey": HIDDEN, "nested": {"password": HIDDEN}, "pin_token": HIDDEN} == hidden["spec"][
        "config"
    ]
    assert {"name": "NCCL_DEBUG", "value": "INFO"} == hidden["spec"]["env"][1]
    assert manifest["spec"]["env"][2] == hidden["spec"]["env"][2]
    assert ["train.py", "--api-key", HIDDEN, f"--token={HIDDEN}", "--epochs", "3"] == hidden["spec"]["script"]
    assert manifest["spec"]["imagePullSecrets"] == hidden["spec"]["imagePullSecrets"]
    assert manifest["spec"]["volumes"] == hidden["spec"]["volumes"]


@pytest.mark.parametrize(
    "text, hidden",
    [
        ("password=hunter2 next", f"password={HIDDEN} next"),
        ('{"api_key": "a b c", "lr": 1}', f'{{"api_key": {HIDDEN}, "lr": 1}}'),
        ("Authorization: Bearer abcdef123456", f"Authorization: {HIDDEN}"),
        (f"token {JWT}.", f"token {HIDDEN}."),
        ("login --token s3cr3t --epochs 3", f"login --token {HIDDEN} --epochs 3"),
        (f"key:\n{KEY}\nend", f"key:\n{HIDDEN}\nend"),
        ("got AKIAIOSFODNN7EXAMPLE", f"got {HIDDEN}"),
        ("hf_abcdefghijklmnopqrstuvwx loaded", f"{HIDDEN} loaded"),
        ("https://ann:pw@host/x", f"https://{HIDDEN}@host/x"),
        ("GET /b?X-Amz-Signature=abc123&part=1", f"GET /b?X-Amz-Signature={HIDDEN}&part=1"),
    ],
)
def test_a_text_keeps_what_is_around_its_secrets(text, hidden):
    assert hidden == Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "step=450 loss=0.2347 lr=9.1e-04 tokens/s=18211 tokens=12",
        "OSError: [Errno 28] No space left on device: '/checkpoints/step-40'",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "https://index.example.com/simple/torch",
        "per-token loss 0.5, pass 3 of 4",
        "- secret:\n    secretName: mine\n- secretKeyRef: {name: db, key: password}",
    ],
)
def test_a_log_without_secrets_stays_as_it_is(text):
    assert text == Redactor().text(text)


def test_a_value_that_was_hidden_once_is_hidden_wherever_it_stands():
    redactor = Redactor()
    redactor.manifest({"env": [{"name": "WANDB_API_KEY", "value": "0123456789abcdef"}]})

    assert f"logged in with {HIDDEN}!" == redactor.text("logged in with 0123456789abcdef!")
