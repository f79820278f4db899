#include "src/merge/chat_template.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json_edit.h"

enum { MOST_TEMPLATE_BYTES = 1 << 20, MOST_CONFIG_BYTES = 64 << 20 };

/* What each family's prompts look like. */
static const struct {
    const char *name, *text;
} built_in[] = {
    { "chatml", "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
                "'<|im_end|>\\n' }}{%- endfor %}\n"
                "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}\n" },
    { "llama3",
      "{%- for m in messages %}\n"
      "{%- if loop.first %}{{ bos_token }}{%- endif %}\n"
      "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + "
      "'<|eot_id|>' }}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt %}"
      "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}\n" },
    { "mistral",
      "{%- set talk = messages[1:] if messages[0]['role'] == 'system' else messages %}\n"
      "{{- bos_token }}\n"
      "{%- for m in talk %}\n"
      "{%- if m['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}\n"
      "{{- raise_exception('roles must alternate: user, assistant, user, ..., with at most one "
      "system message before them') }}\n"
      "{%- elif m['role'] == 'assistant' %}{{- ' ' + m['content'] + eos_token }}\n"
      "{%- else %}\n"
      "{{- ' [INST] ' + (messages[0]['content'] + '\\n\\n' if loop.first and talk | length < "
      "messages | length else '') + m['content'] + ' [/INST]' }}\n"
      "{%- endif %}\n"
      "{%- endfor %}\n" },
    { "alpaca",
      "{%- for m in messages if m['role'] == 'system' %}"
      "{%- if loop.last %}{{ m['content'] | trim }}{%- endif %}{%- endfor %}"
      "{{- '\\n\\n' }}\n"
      "{%- set titles = {'user': 'Instruction', 'assistant': 'Response', 'user_context': 'Input'} "
      "%}\n"
      "{%- for m in messages if m['role'] in titles %}\n"
      "{{- '### ' + titles[m['role']] + ':\\n' + m['content'] | trim + ('' if loop.last else "
      "'\\n\\n') }}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt and messages[-1]['role'] != 'assistant' %}"
      "{{- '\\n\\n### Response:\\n' }}{%- endif %}\n" },
    { "exaone", "{%- for m in messages %}\n"
                "{%- if loop.first and m['role'] != 'system' %}{{ '[|system|][|endofturn|]\\n' }}"
                "{%- endif %}\n"
                "{{- '[|' + m['role'] + '|]' + m['content'] + ('\\n' if m['role'] == 'user' else "
                "'[|endofturn|]\\n') }}\n"
                "{%- endfor %}\n"
                "{%- if add_generation_prompt %}{{ '[|assistant|]' }}{%- endif %}\n" },
};

static int no_memory(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    return uqm_plan_no_memory(rs, err);
}

/* As Python strips: white space at both ends. In place. */
static void strip(char *s)
{
    static const char space[] = " \t\n\r\f\v";
    size_t begin = strspn(s, space), len = strlen(s);
    while (len > begin && strchr(space, s[len - 1]))
        len--;
    memmove(s, s + begin, len - begin);
    s[len - begin] = '\0';
}

/* "..." or [{"name": "default", "template": "..."}, ...] or {"default": "..."} */
static const char *text_of(const json_t *value)
{
    const json_t *item;
    size_t i;
    if (json_is_object(value))
        return json_string_value(json_object_get(value, "default"));
    json_array_foreach (value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(item, "template"));
    }
    return json_string_value(value);
}

/* *out: tokenizer_config.json's, or NULL. */
static int read_config(char **out, const char *path, struct uqm_err *err)
{
    char *text;
    size_t len;
    struct uqm_json_span value;
    int ret = uqm_read_model_file(&text, &len, path, MOST_CONFIG_BYTES, err);
    if (ret < 0)
        return ret;
    ret = uqm_json_find(&value, NULL, text, len, "chat_template", path, err);
    if (ret > 0) {
        json_t *doc =
            json_loadb(text + value.begin, value.end - value.begin, JSON_DECODE_ANY, NULL);
        const char *found = text_of(doc);
        *out = found ? strdup(found) : NULL;
        json_decref(doc);
        if (found && !*out)
            ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    }
    free(text);
    return ret < 0 ? ret : UQM_OK;
}

static int read_template(char **out, const char *dir, struct uqm_err *err)
{
    char *jinja = uqm_path_join(dir, "chat_template.jinja");
    char *config = uqm_path_join(dir, "tokenizer_config.json");
    size_t len;
    int ret = UQM_OK;
    *out = NULL;
    if (!jinja || !config)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", dir);
    else if ((ret = uqm_find_own_file(dir, "chat_template.jinja", err)) > 0)
        ret = uqm_read_model_file(out, &len, jinja, MOST_TEMPLATE_BYTES, err);
    else if (ret == 0 && (ret = uqm_find_own_file(dir, "tokenizer_config.json", err)) > 0)
        ret = read_config(out, config, err);
    if (*out)
        strip(*out);
    free(jinja);
    free(config);
    return ret;
}

/* The first of those that most inputs have. */
static size_t most_frequent(char *const *v, size_t n)
{
    size_t best = n, most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t j = 0; j < n && v[i] && *v[i]; j++)
            count += v[j] && strcmp(v[i], v[j]) == 0;
        if (count > most) {
            most = count;
            best = i;
        }
    }
    return best;
}

static int choose_automatically(char **out, const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    char **v = calloc(rs->n_inputs, sizeof *v);
    int ret = v ? UQM_OK : no_memory(rs, err);
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++)
        ret = read_template(&v[k], rs->inputs[k].checkpoint->source.home, err);
    size_t best = ret == UQM_OK ? most_frequent(v, rs->n_inputs) : rs->n_inputs;
    if (best < rs->n_inputs) {
        *out = v[best];
        v[best] = NULL;
    } else if (ret == UQM_OK) {
        ret =
            uqm_warn(rs->source.env, err, "%s:%d: chat_template auto: no model has a chat template",
                     rs->recipe->where, rs->recipe->chat_template_line);
    }
    for (size_t k = 0; v && k < rs->n_inputs; k++)
        free(v[k]);
    free(v);
    return ret;
}

int uqm_chat_template_choose(char **out, const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const char *text = rs->recipe->chat_template;
    *out = NULL;
    if (!text)
        return UQM_OK;
    if (strcmp(text, "auto") == 0)
        return choose_automatically(out, rs, err);
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++)
        if (strcmp(text, built_in[i].name) == 0)
            text = built_in[i].text;
    *out = strdup(text);
    return *out ? UQM_OK : no_memory(rs, err);
}
