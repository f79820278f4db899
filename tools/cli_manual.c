/* The manual page, uqmerge(1), made from the same tables that parse. */
#include <ctype.h>
#include <string.h>

#include "tools/cli.h"

enum { LINE_BYTES = 76 };

/* The day on which the text below was last changed; a page without one is none to mandoc. */
#define TEXT_DATE "2026-11-23"

static const char description[] =
    "uqmerge merges neural-network checkpoints that are larger than memory, and chooses which ones "
    "to merge by their uncertainty. It reads LLaVA-shaped and LLaMA-shaped checkpoints and writes "
    "a checkpoint that is whole or absent, with a manifest against which every byte can be "
    "checked. Results go to standard output; progress, warnings and errors to standard error. An "
    "error is one line that says where and what. What was interrupted goes on when the same "
    "command is run again.";

static const char syntax[] =
    "Options are --name VALUE, --name=VALUE or a letter (-q, -j4, -qv); they may stand before or "
    "after arguments; after -- nothing is an option. Of an option that is given twice the later "
    "counts, but lists grow. Names are not abbreviated. Sizes are bytes, or a number with a unit: "
    "K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024; KB, MB, GB, TB of 1000. A MODEL is a "
    "checkpoint folder, an archive of one (.uqz) or a recipe (.yml), which is merged while it is "
    "loaded.";

static const char other_names[] = "Accepted too, as other names or opposites of these:";

struct item {
    const char *name, *text;
};

static const struct item statuses[] = {
    { "0", "done" },
    { "1", "failed: bad input, I/O, memory, or something this version does not have" },
    { "2", "usage: an option or argument that does not exist, is missing or makes no sense" },
    { "3", "a check did not hold: verify, diff --exit-code" },
    { "130", "interrupted; the same command goes on from there" },
    { 0 },
};

static const struct item variables[] = {
    { "UQMERGE_CPU", "ref, avx2 or avx512: the fastest kernels to use; results are the same" },
    { "UQMERGE_DEVICE", "what --device is where it is not given" },
    { "TMPDIR", "where ask, uq, eval and select --no-write keep what does not fit into --memory; "
                "default /tmp" },
    { "XDG_CACHE_HOME", "where what a Vulkan driver has compiled is kept, in uqmerge/; default "
                        "~/.cache" },
    { 0 },
};

static const struct item paths[] = {
    { ".OUT.part", "beside OUT: what an unfinished run has written, from which the same command "
                   "goes on; it may be removed when that is not wanted" },
    { "OUT.state.json", "beside OUT: what an unfinished select has measured" },
    { "OUT/uqmerge.manifest.json",
      "what was merged, and digests of every file and tensor; written last" },
    { "OUT/SHA256SUMS", "for sha256sum -c" },
    { "OUT/uqmerge.report.json", "how far each input lies from each merged tensor" },
    { 0 },
};

static const struct item examples[] = {
    { "uqmerge merge recipe.yml out --dry-run", "what would be read, written and merged" },
    { "uqmerge merge recipe.yml out --memory 8G", "a merge" },
    { "uqmerge verify out", "every byte of it against its manifest" },
    { "uqmerge select a b c --data *.jsonl --out best --report best.html",
      "the models whose merge is least uncertain, merged" },
    { "source <(uqmerge --completion)", "completion in this bash" },
    { 0 },
};

static void put_char(FILE *out, char c)
{
    if (c == '\\')
        fputs("\\e", out);
    else if (c == '-')
        fputs("\\-", out);
    else
        fputc(c, out);
}

/* len bytes of a text, in a font: 'R', 'B' or 'I'. */
static void put_text(FILE *out, char font, const char *s, size_t len)
{
    if (font != 'R')
        fprintf(out, "\\f%c", font);
    else if (len > 0 && (*s == '.' || *s == '\''))
        fputs("\\&", out); /* else the line would be a request */
    for (size_t i = 0; i < len; i++)
        put_char(out, s[i]);
    if (font != 'R')
        fputs("\\fR", out);
}

static void put(FILE *out, char font, const char *s)
{
    put_text(out, font, s, strlen(s));
}

/* What put_text() adds to a word. */
static size_t escapes(const char *s, size_t len)
{
    size_t n = *s == '.' || *s == '\'' ? 2 : 0;
    for (size_t i = 0; i < len; i++)
        n += s[i] == '-' || s[i] == '\\';
    return n;
}

/* The words of `text`, a line for each sentence and none longer than LINE_BYTES. */
static void put_prose(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t len = strcspn(text, " \n");
        size_t bytes = len + escapes(text, len);
        if (column > 0 && column + 1 + bytes > LINE_BYTES) {
            fputc('\n', out);
            column = 0;
        }
        if (column > 0)
            fputc(' ', out);
        put_text(out, 'R', text, len);
        column += bytes + 1;
        bool ends = len > 0 && strchr(".?!", text[len - 1]) && text[len] && text[len + 1] &&
                    isupper((unsigned char) text[len + 1]);
        text += len;
        if (*text == '\n' || ends) {
            fputs(*text == '\n' && text[1] ? "\n.br\n" : "\n", out);
            column = 0;
        }
        text += *text != 0;
    }
    if (column > 0)
        fputc('\n', out);
}

static void put_items(FILE *out, const char *title, const struct item *items)
{
    fprintf(out, ".SH %s\n", title);
    for (; items->name; items++) {
        fputs(".TP\n", out);
        put(out, 'B', items->name);
        fputc('\n', out);
        put_prose(out, items->text);
    }
}

static void put_option(FILE *out, const struct cli_option *o)
{
    fputs(".TP\n", out);
    if (o->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-\\fR", out);
    put(out, 'B', o->name);
    if (o->value) {
        fputc(' ', out);
        put(out, 'I', o->value);
    }
    fputc('\n', out);
    put_prose(out, o->help);
}

static void put_options(FILE *out, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        if (o->state == CLI_HERE)
            put_option(out, o);
    }
}

static void put_other_names(FILE *out, const struct cli_option *options, enum cli_state state,
                            const char *what)
{
    char text[1024];
    if (cli_append_names(text, sizeof text, 0, options, state) == 0)
        return;
    fputs(".PP\n", out);
    put_prose(out, what);
    put_prose(out, text);
}

static void put_command(FILE *out, const struct cli_command *command)
{
    fputs(".SS ", out);
    put(out, 'R', command->name);
    fputs("\n\\fBuqmerge ", out);
    put(out, 'R', command->name);
    fputs("\\fR [\\fIOPTIONS\\fR]", out);
    if (command->args[0]) {
        fputc(' ', out);
        put(out, 'I', command->args);
    }
    fputs("\n.PP\n", out);
    put_prose(out, command->summary);
    if (command->details)
        put_prose(out, command->details);
    put_options(out, command->options);
    put_other_names(out, command->options, CLI_SILENT, other_names);
    put_other_names(out, command->options, CLI_NOTED,
                    "Accepted with a note, because mergekit has them and they mean nothing here:");
}

static void put_shared_options(FILE *out)
{
    fputs(".SH OPTIONS OF MOST COMMANDS\n", out);
    put_prose(out, syntax);
    fputs(".SS Resources (every command but devices)\n", out);
    put_options(out, cli_run_options);
    put_other_names(out, cli_run_options, CLI_SILENT, other_names);
    fputs(".SS Output (every command)\n", out);
    put_options(out, cli_output_options);
}

void cli_manual(FILE *out, const struct cli_command *const *commands, size_t n_commands)
{
    fprintf(out,
            ".\\\" Made by uqmerge \\-\\-man from the tables that \\-\\-help prints; not to be "
            "edited.\n.TH UQMERGE 1 \"%s\" \"uqmerge %s\"\n.SH NAME\nuqmerge \\- merge "
            "checkpoints larger than memory, chosen by uncertainty\n",
            TEXT_DATE, uqm_version());
    fputs(
        ".nh\n.ad l\n.SH SYNOPSIS\n\\fBuqmerge\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] \\fIARGS\\fR\n"
        ".br\n\\fBuqmerge\\fR \\fB\\-\\-help\\fR | \\fB\\-\\-version\\fR | \\fB\\-\\-man\\fR | "
        "\\fB\\-\\-completion\\fR\n.br\n\\fBuqmerge\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR\n"
        ".SH DESCRIPTION\n",
        out);
    put_prose(out, description);
    fputs(".SH COMMANDS\n", out);
    put_prose(out, "Each command has the options under its name and those of most commands, "
                   "further down.");
    for (size_t i = 0; i < n_commands; i++)
        put_command(out, commands[i]);
    put_shared_options(out);
    put_items(out, "EXIT STATUS", statuses);
    put_items(out, "ENVIRONMENT", variables);
    put_items(out, "FILES", paths);
    put_items(out, "EXAMPLES", examples);
    fputs(".SH SEE ALSO\n", out);
    put_prose(out, "sha256sum(1), openssl(1), and the documentation that comes with the source: "
                   "docs/guide.md for first steps, docs/cli.md for every option, docs/archive.md "
                   "and docs/formats for what is written.");
}
