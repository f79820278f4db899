#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *key, *signature;
};

static const struct cli_option table[] = {
    { .name = "key",
      .value = "KEY.pem",
      .set = cli_set_text,
      .field = offsetof(struct options, key),
      .help = "the private key: elliptic curve P-256, P-384 or P-521, in PEM, without a password" },
    { .name = "signature",
      .value = "FILE",
      .set = cli_set_text,
      .field = offsetof(struct options, signature),
      .help = "where the signature goes; default PATH/model.sig, or PATH.sig of an archive. "
              "Replaced if it is there" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    if (!o->key)
        return session_refuse(cli_fail(&err, UQM_ERR_ARG, "sign: --key: is required"), &err);
    session_init(&s, common);
    struct uqm_sign_params params = {
        .common = common->uqm, .path = args->v[0], .key = o->key, .signature = o->signature
    };
    int ret = uqm_sign(&json, &params, &err);
    return session_finish(&s, ret, &json, print_sign, 0, &err);
}

const struct cli_command cmd_sign = {
    .name = "sign",
    .args = "PATH",
    .summary = "Sign all files of a folder or archive, as OpenSSF Model Signing does.",
    .details = "PATH is a folder or an archive (.uqz). Every file in it goes into the signature, "
               "but version "
               "control's own (.git, .gitattributes, .github, .gitignore) and the signature. Its "
               "like is checked by `uqmerge verify --public-key` and by the model_signing tool.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
