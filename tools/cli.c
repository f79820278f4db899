/* Parsing a command's arguments by its tables. */
#include "tools/cli.h"

#include <stdlib.h>
#include <string.h>

/* One parse under way. */
struct parse {
    const struct cli_command *command;
    struct cli_parsed *out;
    struct cli_common *options;
    int argc, at;
    char **argv;
    struct uqm_err *err;
};

static const char *const io_names[] = { "auto", "uring", "pread", NULL };
static const char *const direct_names[] = { "auto", "on", "off", NULL };
static const char *const when_names[] = { "auto", "always", "never", NULL };

#define COMMON(member) offsetof(struct cli_common, member)

const struct cli_option cli_run_options[] = {
    { .name = "memory",
      .value = "SIZE",
      .set = cli_set_size,
      .min = 0x1p26,
      .field = COMMON(uqm.memory),
      .help = "ceiling for everything the program allocates, at least 64M; default a quarter of "
              "the memory that is available, within [256M, 4G]" },
    { .name = "threads",
      .value = "N",
      .letter = 'j',
      .set = cli_set_int,
      .min = 1,
      .max = 1024,
      .field = COMMON(uqm.n_threads),
      .help = "worker threads; default the CPUs it may run on" },
    { .name = "num-threads",
      .value = "N",
      .set = cli_set_int,
      .min = 1,
      .max = 1024,
      .field = COMMON(uqm.n_threads),
      .state = CLI_SILENT },
    { .name = "io",
      .value = "auto|uring|pread",
      .set = cli_set_choice,
      .choices = io_names,
      .field = COMMON(uqm.io),
      .help = "how files are read and written; auto falls back where io_uring is refused" },
    { .name = "direct",
      .value = "auto|on|off",
      .set = cli_set_choice,
      .choices = direct_names,
      .field = COMMON(uqm.direct),
      .help = "bypass the page cache" },
    { .name = "device",
      .value = "auto|cpu|vulkan[:WHICH]",
      .set = cli_set_device,
      .field = COMMON(uqm.device),
      .help = "where network layers run; WHICH: a number or a part of the name" },
    { .name = "seed",
      .value = "N",
      .set = cli_set_u64,
      .field = COMMON(uqm.seed),
      .help = "all randomness derives from it; default 0" },
    { .name = "random-seed",
      .value = "N",
      .set = cli_set_u64,
      .field = COMMON(uqm.seed),
      .state = CLI_SILENT },
    { .name = "sync-every",
      .value = "SIZE",
      .set = cli_set_size,
      .min = 1,
      .field = COMMON(uqm.sync_bytes),
      .help = "for commands that write: output that an interruption may cost; default 256M" },
    { .name = "strict",
      .set = cli_set_true,
      .field = COMMON(uqm.strict),
      .help = "warnings become errors" },
    { .name = "ignore-crc",
      .set = cli_set_true,
      .field = COMMON(uqm.ignore_crc),
      .help = "read PyTorch files whose checksums are wrong" },
    { 0 },
};

const struct cli_option cli_output_options[] = {
    { .name = "json",
      .set = cli_set_true,
      .field = COMMON(json),
      .help = "the result as one JSON document on standard output" },
    { .name = "progress",
      .value = "auto|always|never",
      .set = cli_set_choice,
      .choices = when_names,
      .field = COMMON(progress),
      .help = "auto: a live line on a terminal, else a line every 10 s; always: under -q too" },
    { .name = "quiet",
      .letter = 'q',
      .set = cli_set_true,
      .field = COMMON(quiet),
      .help = "errors only" },
    { .name = "verbose",
      .letter = 'v',
      .set = cli_set_more,
      .field = COMMON(verbose),
      .help = "say more" },
    { .name = "help",
      .letter = 'h',
      .set = cli_set_true,
      .field = COMMON(help),
      .help = "this text" },
    { 0 },
};

static const char *program(const struct cli_command *command)
{
    return command->standalone ? "" : "uqmerge ";
}

static const struct cli_option *table(const struct cli_command *command, int which)
{
    static const struct cli_option none[] = { { 0 } };
    switch (which) {
    case 0: return command->options ? command->options : none;
    case 1: return command->runs ? cli_run_options : none;
    case 2: return cli_output_options;
    default: return NULL;
    }
}

/* A note's flag may be negated as mergekit's are: --no-cuda. */
static bool names_it(const struct cli_option *o, const char *name, size_t len)
{
    if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
        return true;
    return o->state == CLI_NOTED && !o->value && len > 3 && memcmp(name, "no-", 3) == 0 &&
           strlen(o->name) == len - 3 && memcmp(o->name, name + 3, len - 3) == 0;
}

static const struct cli_option *find_long(const struct cli_command *command, const char *name,
                                          size_t len)
{
    const struct cli_option *o;
    for (int which = 0; (o = table(command, which)); which++) {
        for (; o->name; o++) {
            if (names_it(o, name, len))
                return o;
        }
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_command *command, char letter)
{
    const struct cli_option *o;
    for (int which = 0; (o = table(command, which)); which++) {
        for (; o->name; o++) {
            if (o->letter == letter)
                return o;
        }
    }
    return NULL;
}

/* The nearest advertised option, or one that what was typed begins; NULL: none is near. */
static const char *nearest_option(const struct cli_command *command, const char *typed)
{
    const struct cli_option *o;
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (int which = 0; (o = table(command, which)); which++) {
        for (; o->name; o++) {
            if (o->state == CLI_NOTED || o->state == CLI_ABSENT || o->state == CLI_WRONG)
                continue;
            size_t len = strlen(typed);
            size_t d =
                len >= 3 && strncmp(o->name, typed, len) == 0 ? 1 : cli_distance(typed, o->name);
            if (d < best_distance) {
                best_distance = d;
                best = o->name;
            }
        }
    }
    return best && cli_is_near(best_distance, typed) ? best : NULL;
}

static int no_such_option(const struct parse *p, const char *arg, size_t len)
{
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int) (len < 60 ? len : 60), arg + 2);
    const char *near = len > 0 ? nearest_option(p->command, typed) : NULL;
    if (near)
        return cli_fail(p->err, UQM_ERR_ARG, "%s: no option --%s; did you mean --%s?",
                        p->command->name, typed, near);
    return cli_fail(p->err, UQM_ERR_ARG, "%s: no option --%s; see %s%s --help", p->command->name,
                    typed, program(p->command), p->command->name);
}

/* Put "COMMAND: --NAME: " before what a setter said. */
static int blame(const struct parse *p, const struct cli_option *o, int code)
{
    char what[sizeof p->err->msg];
    memcpy(what, p->err->msg, sizeof what);
    what[sizeof what - 64] = 0;
    return cli_fail(p->err, code, "%s: --%s: %s", p->command->name, o->name, what);
}

static int set(const struct parse *p, const struct cli_option *o, const char *value)
{
    int ret = o->set((char *) p->options + o->field, value, o, p->err);
    return ret < 0 ? blame(p, o, ret) : UQM_OK;
}

/* A list's memory: room for every argument. */
static int make_list(const struct parse *p, struct uqm_strings *list)
{
    struct cli_parsed *out = p->out;
    if (list->v)
        return UQM_OK;
    const char **v = calloc((size_t) p->argc + 1, sizeof *v);
    if (!v || out->n_lists == sizeof out->lists / sizeof out->lists[0]) {
        free(v);
        return cli_fail(p->err, UQM_ERR_NOMEM, "%s: the arguments: no memory", p->command->name);
    }
    out->lists[out->n_lists++] = v;
    list->v = v;
    return UQM_OK;
}

static void append(struct uqm_strings *list, const char *s)
{
    ((const char **) (uintptr_t) list->v)[list->n++] = s;
}

/* A list takes its first value, and those that follow up to the next option. */
static int set_list(struct parse *p, const struct cli_option *o, const char *value)
{
    struct uqm_strings *list = (void *) ((char *) p->options + o->field);
    int ret = make_list(p, list);
    if (ret < 0)
        return ret;
    ret = set(p, o, value);
    while (ret >= 0 && p->at < p->argc && p->argv[p->at][0] != '-' &&
           (!o->takes || o->takes(p->argv[p->at])))
        ret = set(p, o, p->argv[p->at++]);
    return ret;
}

/* value: what stood in the same argument, or NULL. */
static int take_option(struct parse *p, const struct cli_option *o, const char *value)
{
    if (o->state == CLI_ABSENT)
        return cli_fail(p->err, UQM_ERR_UNSUPPORTED, "%s: --%s: is not in this version: %s",
                        p->command->name, o->name, o->help);
    if (o->state == CLI_WRONG)
        return cli_fail(p->err, UQM_ERR_ARG, "%s: --%s: %s", p->command->name, o->name, o->help);
    if (!o->value && value)
        return cli_fail(p->err, UQM_ERR_ARG, "%s: --%s: takes no value", p->command->name, o->name);
    if (o->value && !value) {
        if (p->at == p->argc)
            return cli_fail(p->err, UQM_ERR_ARG, "%s: --%s: needs a value (%s)", p->command->name,
                            o->name, o->value);
        value = p->argv[p->at++];
    }
    if (value && !value[0])
        return cli_fail(p->err, UQM_ERR_ARG, "%s: --%s: is empty", p->command->name, o->name);
    if (o->state == CLI_NOTED) {
        p->out->noted[p->out->notes.n] = o;
        append(&p->out->notes, o->name);
        return UQM_OK;
    }
    return o->set == cli_set_list ? set_list(p, o, value) : set(p, o, value);
}

static int take_long(struct parse *p, const char *arg)
{
    size_t len = strcspn(arg + 2, "=");
    const struct cli_option *o = find_long(p->command, arg + 2, len);
    if (!o)
        return no_such_option(p, arg, len);
    return take_option(p, o, arg[2 + len] ? arg + 2 + len + 1 : NULL);
}

/* -q, -qv, -j4, -j 4 */
static int take_short(struct parse *p, const char *arg)
{
    for (const char *s = arg + 1; *s; s++) {
        const struct cli_option *o = find_letter(p->command, *s);
        if (!o)
            return cli_fail(p->err, UQM_ERR_ARG, "%s: no option -%c; see %s%s --help",
                            p->command->name, *s >= ' ' && *s <= '~' ? *s : '?',
                            program(p->command), p->command->name);
        if (o->value)
            return take_option(p, o, s[1] ? s + 1 : NULL);
        int ret = take_option(p, o, NULL);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int check_args(const struct parse *p)
{
    const struct cli_command *c = p->command;
    size_t n = p->out->args.n;
    if (n < c->min_args)
        return cli_fail(p->err, UQM_ERR_ARG, "%s: %s; see %s%s --help", c->name,
                        n ? "an argument is missing" : "no arguments given", program(c), c->name);
    if (n > c->max_args)
        return cli_fail(p->err, UQM_ERR_ARG, "%s: %.200s: one argument too many; see %s%s --help",
                        c->name, p->out->args.v[c->max_args], program(c), c->name);
    for (size_t i = 0; i < n; i++) {
        if (!p->out->args.v[i][0])
            return cli_fail(p->err, UQM_ERR_ARG, "%s: argument %zu is empty", c->name, i + 1);
    }
    return UQM_OK;
}

/* "--help" before "--" wins over every mistake. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

int cli_parse(struct cli_parsed *out, struct cli_common *options, const struct cli_command *command,
              int argc, char **argv, struct uqm_err *err)
{
    struct parse p = { command, out, options, argc, 0, argv, err };
    int ret;

    memset(out, 0, sizeof *out);
    options->command = command->name;
    if (wants_help(argc, argv)) {
        options->help = true;
        return UQM_OK;
    }
    out->noted = calloc((size_t) argc + 1, sizeof *out->noted);
    if (!out->noted)
        return cli_fail(err, UQM_ERR_NOMEM, "%s: the arguments: no memory", command->name);
    if ((ret = make_list(&p, &out->args)) < 0 || (ret = make_list(&p, &out->notes)) < 0)
        return ret;

    while (p.at < argc) {
        const char *arg = argv[p.at++];
        if (strcmp(arg, "--") == 0) {
            while (p.at < argc)
                append(&out->args, argv[p.at++]);
            break;
        }
        if (strncmp(arg, "--", 2) == 0)
            ret = take_long(&p, arg);
        else if (arg[0] == '-' && arg[1])
            ret = take_short(&p, arg);
        else
            append(&out->args, arg);
        if (ret < 0)
            return ret;
    }
    return check_args(&p);
}

void cli_parsed_finish(struct cli_parsed *parsed)
{
    for (size_t i = 0; i < parsed->n_lists; i++)
        free(parsed->lists[i]);
    free(parsed->noted);
    memset(parsed, 0, sizeof *parsed);
}
