/* --help, made from the same tables that parse. */
#include <string.h>

#include "tools/cli.h"

enum { HELP_COLUMN = 28, LINE_END = 80 };

/* Words of `text` from column `from` on, wrapped, later lines indented as far. */
static void wrap(FILE *out, const char *text, int from)
{
    int column = from;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (column > from && column + 1 + (int) len >= LINE_END) {
            fprintf(out, "\n%*s", from, "");
            column = from;
        }
        column += fprintf(out, "%s%.*s", column > from ? " " : "", (int) len, text);
        text += len;
        text += *text == ' ';
        if (*text == '\n') {
            fprintf(out, "\n%*s", from, "");
            column = from;
            text++;
        }
    }
    fputc('\n', out);
}

static void help_option(FILE *out, const struct cli_option *o)
{
    char left[96];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->value && n > 0 && (size_t) n < sizeof left)
        n += snprintf(left + n, sizeof left - (size_t) n, " %s", o->value);
    if (n >= HELP_COLUMN - 1)
        fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(out, "%-*s", HELP_COLUMN, left);
    wrap(out, o->help, HELP_COLUMN);
}

static void help_table(FILE *out, const char *title, const struct cli_option *options)
{
    bool any = false;
    for (const struct cli_option *o = options; o->name; o++) {
        if (o->state != CLI_HERE)
            continue;
        if (!any)
            fprintf(out, "\n%s:\n", title);
        any = true;
        help_option(out, o);
    }
}

/* A command's own way of taking an option that all commands have is no other name of it. */
static bool is_shared(const struct cli_option *options, const char *name)
{
    if (options == cli_run_options)
        return false;
    for (const struct cli_option *o = cli_run_options; o->name; o++) {
        if (strcmp(o->name, name) == 0)
            return true;
    }
    return false;
}

size_t cli_append_names(char *text, size_t size, size_t used, const struct cli_option *options,
                        enum cli_state state)
{
    for (const struct cli_option *o = options; o && o->name && used < size; o++) {
        if (o->state == state && !is_shared(options, o->name))
            used +=
                (size_t) snprintf(text + used, size - used, "%s--%s", used ? ", " : "", o->name);
    }
    return used;
}

/* What is accepted and has no line of its own, a paragraph for each kind. */
static void help_other_names(FILE *out, const struct cli_command *command)
{
    char text[1024] = "";
    size_t used = cli_append_names(text, sizeof text, 0, command->options, CLI_SILENT);
    if (command->runs)
        used = cli_append_names(text, sizeof text, used, cli_run_options, CLI_SILENT);
    if (used) {
        fputs("\nAccepted too, as other names or opposites of these:\n  ", out);
        wrap(out, text, 2);
    }
    if (cli_append_names(text, sizeof text, 0, command->options, CLI_NOTED)) {
        fputs("\nAccepted with a note, because mergekit has them and they mean nothing here:\n  ",
              out);
        wrap(out, text, 2);
    }
}

void cli_help(FILE *out, const struct cli_command *command)
{
    fprintf(out, "Usage: %s%s [OPTIONS]%s%s\n\n", command->standalone ? "" : "uqmerge ",
            command->name, command->args[0] ? " " : "", command->args);
    wrap(out, command->summary, 0);
    if (command->details) {
        fputc('\n', out);
        wrap(out, command->details, 0);
    }
    if (command->options)
        help_table(out, "Options", command->options);
    if (command->runs)
        help_table(out, "Resources", cli_run_options);
    help_table(out, "Output", cli_output_options);
    help_other_names(out, command);
}
