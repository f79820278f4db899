/* uqmerge COMMAND: find the command, read its options, run it. */
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"

static const struct cli_command *const commands[] = {
    &cmd_inspect, &cmd_diff, &cmd_merge,      &cmd_verify, &cmd_sign,
    &cmd_convert, &cmd_pack, &cmd_unpack,     &cmd_ask,    &cmd_uq,
    &cmd_select,  &cmd_eval, &cmd_experiment, &cmd_report, &cmd_devices,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void help(FILE *out)
{
    fputs("Usage: uqmerge COMMAND [OPTIONS] ARGS\n\n"
          "Merge neural-network checkpoints that are larger than memory, and choose which\n"
          "ones to merge by their uncertainty.\n\nCommands:\n",
          out);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n  uqmerge COMMAND --help   a command's arguments and options\n"
          "  uqmerge --version        the program's version\n"
          "  uqmerge --man            the manual page, for man -l -\n"
          "  uqmerge --completion     for bash: source <(uqmerge --completion)\n",
          out);
}

static const struct cli_command *find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

/* One of `names`, or NULL: none is near what was typed. */
static const char *nearest(const char *typed, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < n_names; i++) {
        size_t d = cli_distance(typed, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best && cli_is_near(best_distance, typed) ? best : NULL;
}

/* what: what is wrong with it. near: what may have been meant, or NULL. */
static int refuse(const char *typed, const char *what, const char *near)
{
    struct uqm_err err;
    int ret = near ? cli_fail(&err, UQM_ERR_ARG, "%.60s: %s; did you mean %s?", typed, what, near)
                   : cli_fail(&err, UQM_ERR_ARG, "%.60s: %s; see uqmerge --help", typed, what);
    return session_refuse(ret, &err);
}

static int no_such_command(const char *name)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i]->name;
    return refuse(name, "no such command", nearest(name, names, N_COMMANDS));
}

static int no_command_yet(const char *option)
{
    static const char *const names[] = { "--help", "--version", "--man", "--completion" };
    return refuse(option, "a command comes first", nearest(option, names, 4));
}

/* mergekit's flags that mean nothing here, each once. */
static void print_notes(const struct cli_parsed *parsed, const struct cli_command *command)
{
    for (size_t i = 0; i < parsed->notes.n; i++)
        fprintf(stderr, "uqmerge: %s: --%s: has no effect: %s\n", command->name, parsed->notes.v[i],
                parsed->noted[i]->help);
}

/* A misspelt tier would silently run the fastest one, and a comparison compare it with itself. */
static int check_environment(struct uqm_err *err)
{
    const char *tier = getenv("UQMERGE_CPU");
    if (!tier || strcmp(tier, "ref") == 0 || strcmp(tier, "avx2") == 0 ||
        strcmp(tier, "avx512") == 0)
        return UQM_OK;
    return cli_fail(err, UQM_ERR_ARG, "UQMERGE_CPU: %.60s is none of ref, avx2, avx512", tier);
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli_parsed parsed;
    struct uqm_err err = { 0 };
    struct cli_common *options = calloc(1, command->options_bytes);
    if (!options)
        return session_refuse(cli_fail(&err, UQM_ERR_NOMEM, "%s: no memory", command->name), &err);

    int code;
    int ret = cli_parse(&parsed, options, command, argc, argv, &err);
    if (ret == UQM_OK && !options->help)
        ret = check_environment(&err);
    if (ret < 0) {
        code = session_refuse(ret, &err);
    } else if (options->help) {
        cli_help(stdout, command);
        code = session_close_stdout(EXIT_DONE);
    } else {
        if (!options->quiet)
            print_notes(&parsed, command);
        code = command->run(options, &parsed.args);
    }
    cli_parsed_finish(&parsed);
    free(options);
    return code;
}

/* What the program says of itself: true when `name` asks for it. */
static bool tell(const char *name)
{
    if (strcmp(name, "--version") == 0)
        printf("uqmerge %s\n", uqm_version());
    else if (strcmp(name, "--man") == 0)
        cli_manual(stdout, commands, N_COMMANDS);
    else if (strcmp(name, "--completion") == 0)
        cli_completion(stdout, commands, N_COMMANDS);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct uqm_err err;
    session_hold_streams();
    session_catch_signals();
    if (argc < 2 || !argv[1][0])
        return session_refuse(
            cli_fail(&err, UQM_ERR_ARG, "no command is given; see uqmerge --help"), &err);

    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        const struct cli_command *command = argc > 2 ? find(argv[2]) : NULL;
        if (argc > 2 && !command)
            return no_such_command(argv[2]);
        if (command)
            cli_help(stdout, command);
        else
            help(stdout);
        return session_close_stdout(EXIT_DONE);
    }
    if (tell(name))
        return session_close_stdout(EXIT_DONE);
    if (name[0] == '-')
        return no_command_yet(name);

    const struct cli_command *command = find(name);
    return command ? run(command, argc - 2, argv + 2) : no_such_command(name);
}
