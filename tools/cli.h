/*
 * The command line: one table of options a command drives parsing, --help and the
 * "did you mean". A command's options land in a struct of its own, whose first member is
 * struct cli_common; an option says at which offset.
 *
 * Accepted: --name VALUE, --name=VALUE, --flag, -x, -xVALUE, -x VALUE; "--" ends the options;
 * options and arguments may be mixed.
 */
#ifndef UQM_TOOLS_CLI_H
#define UQM_TOOLS_CLI_H

#include <stdio.h>

#include "src/uqmerge.h"

#define CLI_MANY SIZE_MAX

enum cli_when { CLI_AUTO, CLI_ALWAYS, CLI_NEVER };

/* What every command takes. First member of every command's options. */
struct cli_common {
    struct uqm_common uqm;
    const char *command; /* its name */
    bool json, quiet, help;
    int verbose; /* how many -v */
    enum cli_when progress;
};

struct cli_option;

/*
 * Read one option's value into its field. value is NULL for options that take none.
 * On failure *err says what is wrong and what would be right, without naming the option.
 */
typedef int (*cli_set_fn)(void *field, const char *value, const struct cli_option *option,
                          struct uqm_err *err);

enum cli_state {
    CLI_HERE,
    CLI_SILENT, /* an alias, or the other half of a pair: accepted; help gives the name alone */
    CLI_NOTED,  /* mergekit's, without a meaning here: accepted with a note; help says why */
    CLI_ABSENT, /* known, not in this version: refused by name; help says why */
    CLI_WRONG,  /* another command's, which would do harm here: a usage error; help says why */
};

struct cli_option {
    const char *name;  /* without "--" */
    const char *value; /* how --help calls the value; NULL: takes none */
    const char *help;
    cli_set_fn set;
    size_t field;
    enum cli_state state;
    char letter;                /* 0: no short form */
    const char *const *choices; /* NULL-ended, for cli_set_choice: the index is stored in an int;
                                   for cli_set_names: the bits 1 << index in an unsigned */
    const char *(*nth)(size_t); /* the i-th word that a free text may be, for completion; NULL: all
                                   is free */
    double min, max;            /* for numbers; max 0: no limit */
    /* A list's option takes all arguments up to the next option, except those for which this
     * says false (they are the command's own). */
    bool (*takes)(const char *arg);
};

/* Setters. The field's type is in the name or beside it. */
int cli_set_true(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_false(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_more(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_text(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* int */
int cli_set_int(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_u64(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_double(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* uint64_t: bytes, 512M, 4G, 1.5GiB; K M G T and KiB.. are powers of 1024, KB.. of 1000. */
int cli_set_size(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* uint64_t: as mergekit reads it, K M B are 10^3 10^6 10^9, 0 is one file; else as above. */
int cli_set_shard_size(void *field, const char *value, const struct cli_option *, struct uqm_err *);
int cli_set_choice(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* A comma-separated subset of the choices. */
int cli_set_names(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* const char *: auto or cpu; what the contract has beyond them is refused by name. */
int cli_set_device(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* struct uqm_strings, built by the parser */
int cli_set_list(void *field, const char *value, const struct cli_option *, struct uqm_err *);

struct cli_options {
    const struct cli_option *v; /* ends with a zero name */
    const char *title;          /* in --help */
};

/* Options that every command has; those of commands that read models. */
extern const struct cli_option cli_output_options[], cli_run_options[];

struct cli_command {
    const char *name;
    const char *args;    /* "RECIPE OUT", as --help shows them */
    const char *summary; /* one line */
    const char *details; /* a paragraph or two, or NULL */
    const struct cli_option *options;
    bool runs;       /* takes cli_run_options */
    bool standalone; /* a program of its own, not a command of uqmerge */
    size_t options_bytes;
    size_t min_args, max_args; /* CLI_MANY: no limit */
    /* The exit code. */
    int (*run)(struct cli_common *options, const struct uqm_strings *args);
};

/* What parsing found besides the options themselves; cli_parsed_finish() frees its lists. */
struct cli_parsed {
    struct uqm_strings args;
    struct uqm_strings notes; /* the arguments that are accepted without a meaning */
    const struct cli_option **noted;
    const char **lists[16]; /* every list's memory */
    size_t n_lists;
};

/*
 * Read argv (without program and command name) into *options (zeroed, options_bytes large).
 * UQM_ERR_ARG: a usage error. UQM_ERR_UNSUPPORTED: an option that this version does not have.
 * With --help among the arguments nothing else is checked.
 */
int cli_parse(struct cli_parsed *out, struct cli_common *options, const struct cli_command *command,
              int argc, char **argv, struct uqm_err *err);
void cli_parsed_finish(struct cli_parsed *parsed);

/*
 * What people read of a command or of all, made from the tables: --help; the manual page in
 * man(7)'s language, docs/uqmerge.1; completion for bash, docs/uqmerge.bash.
 */
void cli_help(FILE *out, const struct cli_command *command);
void cli_manual(FILE *out, const struct cli_command *const *commands, size_t n_commands);
void cli_completion(FILE *out, const struct cli_command *const *commands, size_t n_commands);

/* The names of a table's options in this state, that have no line of their own: "--a, --b", after
 * what `text` holds in its first `used` bytes. Returns the length with them. */
size_t cli_append_names(char *text, size_t size, size_t used, const struct cli_option *options,
                        enum cli_state state);

int cli_fail(struct uqm_err *err, enum uqm_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Edit distance (insert, delete, replace, swap of neighbours), for strings up to 63 bytes. */
size_t cli_distance(const char *a, const char *b);
/* Whether `name` is near enough to `typed` to be suggested. */
bool cli_is_near(size_t distance, const char *typed);

#endif
