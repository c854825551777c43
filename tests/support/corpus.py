"""Secrets in the shapes they have in errors and logs.

No secret here is one: all were made up for this file, and none is written as one piece.
"""

from __future__ import annotations

#: Made of two parts, so that tools that look for secrets in files do not find these.
AWS_ID = "AKIA" + "Q3EGRANDNVMZ5TL2"
AWS_SECRET = "wJalrXUtnFEMI" + "/K7MDENG+bPxRfiCYzzzzKEY"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
GITHUB_FINE = "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz"
GITLAB = "glpat-" + "Xy12Zw34Ab56Cd78Ef90"
STRIPE = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
STRIPE_TEST = "rk_test_" + "51Hx93kLmnOpQrStUvWx"
SLACK = "xoxb-" + "123456789012-abcdefABCDEF"
OPENAI = "sk-proj-" + "abcDEF123456ghiJKL789mno"
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjMifQ.SflKxwRJSMeKKF2QT4fwpMeJ"
PEM = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEpAIBAAKCAQEA7v\nq9Xw==\n-----END RSA PRIVATE KEY-----"
WORD = "hunter22" + "swordfish"

#: shape -> (text, what must not be left of it)
SECRETS: dict[str, list[tuple[str, str]]] = {
    "password in a URL": [
        (f"postgresql://app:{WORD}@db.example.org:5432/orders", WORD),
        (f"could not connect: amqp://guest:{WORD}@mq/%2F: refused", WORD),
        (f"https://user:{WORD}@example.org/path?x=1", WORD),
        (f"redis://:{WORD}@cache:6379/0", WORD),
        (f"mongodb+srv://app:{WORD}@cluster0.example.net/test", WORD),
        ("postgresql://app:p@ss" + WORD + "@db/orders", WORD),
        ("postgresql://app:p/ss" + WORD + "@db/orders", WORD),
        ("postgresql://app:123#" + WORD + "@db/orders", WORD),
        (f"smtp://app@example.org:{WORD}@mail.example.org", WORD),
    ],
    "bearer token": [
        (f"Authorization: Bearer {WORD}12345678", WORD),
        (f"{{'authorization': 'Bearer {WORD}'}}", WORD),
        (f"sent header (b'authorization', b'Bearer {WORD}')", WORD),
    ],
    "other authorization": [
        ("Authorization: Basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg"),
        ("proxy-authorization: basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg"),
        (f"Authorization: Token {WORD}", WORD),
        (f"Authorization: ApiKey {WORD}", WORD),
    ],
    "JSON web token": [(f"cannot verify {JWT}", JWT.split(".")[2]), (f"id_token={JWT}&x=1", JWT.split(".")[2])],
    "AWS": [
        (f"InvalidAccessKeyId: {AWS_ID} does not exist", AWS_ID),
        (f"aws_secret_access_key = {AWS_SECRET}", AWS_SECRET),
        (f"AWS_SECRET_ACCESS_KEY={AWS_SECRET}", AWS_SECRET),
    ],
    "key of a well-known service": [
        (f"401 for {GITHUB}", GITHUB),
        (f"remote: {GITHUB_FINE} is invalid", GITHUB_FINE),
        (f"https://oauth2:{GITLAB}@gitlab.example.org/x.git and {GITLAB}", GITLAB),
        (f"No such key: {STRIPE}", STRIPE),
        (f"({STRIPE_TEST})", STRIPE_TEST),
        (f"invalid_auth {SLACK}", SLACK),
        (f"Incorrect API key provided: {OPENAI}.", OPENAI),
    ],
    "private key": [(PEM, "MIIEpAIBAAKCAQEA7v"), (f"key was\n{PEM[:60]}", "MIIEp"), (f"x {PEM} y {PEM}", "q9Xw")],
    "environment": [
        (f"PGPASSWORD={WORD} psql", WORD),
        (f"export API_KEY='{WORD}'", WORD),
        (f"SECRET_KEY={WORD}", WORD),
        (f"DATABASE_PASSWORD = {WORD}", WORD),
    ],
    "JSON": [
        (f'{{"user": "app", "password": "{WORD}", "port": 1}}', WORD),
        (f'{{"client_secret":"{WORD}"}}', WORD),
        (f'{{"accessToken": "{WORD}"}}', WORD),
        (f'{{"api-key": "a\\"{WORD}"}}', WORD),
        (f'"{{\\"password\\": \\"{WORD}\\"}}"', WORD),
    ],
    "Python": [
        (f"connect(user='app', password='{WORD}')", WORD),
        (f"{{'token': '{WORD}'}}", WORD),
        (f"Settings(secret={WORD!r}, x=1)", WORD),
        (f"os.environ['API_KEY'] = b'a b {WORD}'", WORD),
        (f"token=['x', '{WORD}']", WORD),
        (f"kwargs={{'passwd': \"{WORD}\"}}", WORD),
    ],
    "query string": [
        (f"GET /v1?token={WORD}&page=2", WORD),
        (f"https://example.org/cb?a=1&access_token={WORD}", WORD),
        (f"https://api.example.org/?api_key={WORD}#top", WORD),
    ],
    "header": [(f"X-Api-Key: {WORD}", WORD), (f"x-auth-token: {WORD}\r\nhost: a", WORD), (f"apikey: {WORD}", WORD)],
    "configuration": [
        (f"password: {WORD}\nuser: app", WORD),
        (f"host=db user=app password={WORD} dbname=orders", WORD),
        (f"host=db password='{WORD} {WORD}' dbname=orders", WORD),
        (f"host=db password=a,b){WORD} dbname=orders", WORD),
        (f"host=db password='not closed {WORD}", WORD),
        (f"SMTP_PASS={WORD}", WORD),
        (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={WORD}==;", WORD),
    ],
}
