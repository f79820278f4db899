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

/* mergekit's flags that are accepted, in one paragraph. */
static void help_noted(FILE *out, const struct cli_option *options)
{
    char text[1024] = "";
    size_t used = 0;
    for (const struct cli_option *o = options; o->name && used < sizeof text; o++) {
        if (o->state == CLI_NOTED)
            used += (size_t) snprintf(text + used, sizeof text - used, "%s--%s", used ? ", " : "",
                                      o->name);
    }
    if (!used)
        return;
    fputs("\nAccepted with a note, because mergekit has them and they mean nothing here:\n  ", out);
    wrap(out, text, 2);
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
    if (command->options)
        help_noted(out, command->options);
}
