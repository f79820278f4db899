#include "tools/commands.h"

struct options {
    struct cli_common common;
    bool inputs;
    struct uqm_strings tensors;
    const char *public_key, *certificate_chain, *signature;
};

static const struct cli_option table[] = {
    { .name = "inputs",
      .set = cli_set_true,
      .field = offsetof(struct options, inputs),
      .help = "check too that the merge's inputs are still those of the manifest" },
    { .name = "tensor",
      .value = "NAME...",
      .set = cli_set_list,
      .field = offsetof(struct options, tensors),
      .help = "check only these, through the hash trees: reads no more than the chunks of 1 MiB "
              "that they lie in and the files' headers" },
    { .name = "public-key",
      .value = "PUB.pem",
      .set = cli_set_text,
      .field = offsetof(struct options, public_key),
      .help = "check the files against PATH's signature, by the signer's key, and not against the "
              "manifest; with --tensor or --inputs the manifest against the signature, the rest "
              "against the manifest" },
    { .name = "certificate-chain",
      .value = "CERTS.pem",
      .set = cli_set_text,
      .field = offsetof(struct options, certificate_chain),
      .help = "the same for a signature with a certificate, which must lead to one of these" },
    { .name = "signature",
      .value = "FILE",
      .set = cli_set_text,
      .field = offsetof(struct options, signature),
      .help = "where the signature is; default PATH/model.sig, or of an archive PATH.sig if it is "
              "there" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    if (o->public_key && o->certificate_chain)
        return session_refuse(cli_fail(&err, UQM_ERR_ARG,
                                       "verify: --public-key makes no sense with "
                                       "--certificate-chain"),
                              &err);
    if (o->signature && !o->public_key && !o->certificate_chain)
        return session_refuse(cli_fail(&err, UQM_ERR_ARG,
                                       "verify: --signature: needs --public-key or "
                                       "--certificate-chain"),
                              &err);
    session_init(&s, common);
    struct uqm_verify_params params = { .common = common->uqm,
                                        .path = args->v[0],
                                        .inputs = o->inputs,
                                        .tensors = o->tensors,
                                        .public_key = o->public_key,
                                        .certificate_chain = o->certificate_chain,
                                        .signature = o->signature };
    int ret = uqm_verify(&json, &params, &err);
    return session_finish(&s, ret, &json, print_verify, 0, &err);
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .args = "PATH",
    .summary = "Re-read a merge and check every byte against its manifest.",
    .details = "PATH is a folder with uqmerge.manifest.json, or with --public-key one that is "
               "signed, or an archive (.uqz) of such a folder or any other. Prints each file or "
               "tensor that differs, by name and byte range, and exits "
               "with 3 if there is one.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
