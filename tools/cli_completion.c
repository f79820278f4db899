/* Completion for bash, made from the same tables that parse. What it prints needs bash alone. */
#include <string.h>

#include "tools/cli.h"

/* Words that a value can be, from its choices or the name that --help gives it: "auto|cpu" is two,
 * "N|task" one, "FILE" none. Returns how many. */
static size_t put_words(FILE *out, const struct cli_option *o)
{
    size_t n = 0;
    if (o->nth) {
        for (; o->nth(n); n++)
            fprintf(out, "%s%s", n ? " " : "", o->nth(n));
        return n;
    }
    if (o->choices) {
        for (; o->choices[n]; n++)
            fprintf(out, "%s%s", n ? " " : "", o->choices[n]);
        return n;
    }
    for (const char *s = o->value; *s;) {
        size_t len = strcspn(s, "|"), word = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-");
        if (word == len || (word > 0 && word < len && s[word] == '['))
            fprintf(out, "%s%.*s", n++ ? " " : "", (int) word, s);
        s += len + (s[len] == '|');
    }
    return n;
}

static bool is_path(const char *value)
{
    return strstr(value, "FILE") || strstr(value, ".pem") || strstr(value, ".yml") ||
           strcmp(value, "BASE") == 0;
}

/* A case of the value behind an option: "COMMAND --NAME", or "* --NAME" for all commands. */
static void put_value_case(FILE *out, const char *command, const struct cli_option *o)
{
    fprintf(out, "    %s' --%s'", command, o->name);
    if (o->letter)
        fprintf(out, " | %s' -%c'", command, o->letter);
    fputs(") ", out);
    if (o->nth && is_path(o->value)) {
        fputs("kind=either words='", out);
        put_words(out, o);
        fputs("' ;;\n", out);
    } else if (strncmp(o->value, "DIR", 3) == 0) {
        fputs("kind=folder ;;\n", out);
    } else if (is_path(o->value)) {
        fputs("kind=file ;;\n", out);
    } else {
        fputs(o->set == cli_set_names ? "kind=names words='" : "kind=word words='", out);
        put_words(out, o);
        fputs("' ;;\n", out);
    }
}

static void put_value_cases(FILE *out, const char *command, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        if (o->value && o->state != CLI_ABSENT)
            put_value_case(out, command, o);
    }
}

static void put_names(FILE *out, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        if (o->state == CLI_HERE)
            fprintf(out, " --%s", o->name);
    }
}

static void put_command(FILE *out, const struct cli_command *command)
{
    fprintf(out, "    %s)\n        options='", command->name);
    put_names(out, command->options);
    if (command->runs)
        put_names(out, cli_run_options);
    fputs("' ;;\n", out);
}

static void put_tables(FILE *out, const struct cli_command *const *commands, size_t n_commands)
{
    fputs("    case $command in\n", out);
    for (size_t i = 0; i < n_commands; i++)
        put_command(out, commands[i]);
    fputs("    esac\n    options+='", out);
    put_names(out, cli_output_options);
    fputs("'\n    case $command' '$option in\n", out);
    for (size_t i = 0; i < n_commands; i++)
        put_value_cases(out, commands[i]->name, commands[i]->options);
    put_value_cases(out, "*", cli_run_options);
    put_value_cases(out, "*", cli_output_options);
    fputs("    esac\n", out);
}

static const char head[] =
    "# Completion of uqmerge for bash: source it, or install it as completions/uqmerge.\n"
    "# Made by `uqmerge --completion` from the tables that --help prints; not to be edited.\n"
    "_uqmerge()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local command=${COMP_WORDS[1]} options= words= kind= before= i\n"
    "    COMPREPLY=()\n"
    "    # Where = parts words, --name=VALUE is three of them.\n"
    "    if [[ $cur == = ]]; then\n"
    "        cur=\n"
    "    elif [[ $option == = ]]; then\n"
    "        option=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    elif [[ $cur == --*=* ]]; then\n"
    "        option=${cur%%=*} before=${cur%%=*}= cur=${cur#*=}\n"
    "    fi\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        # Behind -- there are only paths, which bash completes by itself.\n"
    "        [[ ${COMP_WORDS[i]} == -- ]] && return\n"
    "    done\n";

static const char tail[] = "    case $kind in\n"
                           "    file) return ;;\n"
                           "    folder) compopt +o default -o dirnames; return ;;\n"
                           "    either)\n"
                           "        compopt -o filenames\n"
                           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"\n"
                           "            compgen -f -- \"$cur\")\n"
                           "        COMPREPLY=(\"${COMPREPLY[@]/#/$before}\")\n"
                           "        return ;;\n"
                           "    names) [[ $cur == *,* ]] && before+=${cur%,*}, cur=${cur##*,} ;;\n"
                           "    word) ;;\n"
                           "    *)\n"
                           "        [[ $cur == -* ]] || return\n"
                           "        words=$options ;;\n"
                           "    esac\n"
                           "    compopt +o default\n"
                           "    COMPREPLY=($(compgen -P \"$before\" -W \"$words\" -- \"$cur\"))\n"
                           "}\n"
                           "complete -o default -F _uqmerge uqmerge\n";

void cli_completion(FILE *out, const struct cli_command *const *commands, size_t n_commands)
{
    fputs(head, out);
    fputs("    if ((COMP_CWORD == 1)) || [[ $command == help ]]; then\n"
          "        option= kind=word words='help --help --version --man --completion",
          out);
    for (size_t i = 0; i < n_commands; i++)
        fprintf(out, " %s", commands[i]->name);
    fputs("'\n    else\n", out);
    put_tables(out, commands, n_commands);
    fputs("    fi\n", out);
    fputs(tail, out);
}
