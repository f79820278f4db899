/*
 * Read standard input, which must be exactly one JSON document, and print one value of it.
 *   json_get PATH    "models.0.uq", "" for the whole; strings bare, the rest as JSON; for
 *                    "tensors.#" the number of elements
 * Exit status 1: no such document or value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const json_t *step(const json_t *value, const char *key)
{
    if (json_is_array(value))
        return json_array_get(value, strtoul(key, NULL, 10));
    return json_object_get(value, key);
}

int main(int argc, char **argv)
{
    json_error_t why;
    json_t *root = argc == 2 ? json_loadf(stdin, JSON_ALLOW_NUL, &why) : NULL;
    if (!root) {
        fprintf(stderr, "json_get: %s\n", argc == 2 ? why.text : "one PATH");
        return 1;
    }

    const json_t *value = root;
    int code = 0;
    for (char *key = strtok(argv[1], "."); key && value; key = strtok(NULL, ".")) {
        if (strcmp(key, "#") == 0) {
            printf("%zu\n",
                   json_is_array(value) ? json_array_size(value) : json_object_size(value));
            json_decref(root);
            return 0;
        }
        value = step(value, key);
    }
    if (!value)
        code = 1;
    else if (json_is_string(value))
        puts(json_string_value(value));
    else if (json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT) == 0)
        putchar('\n');
    json_decref(root);
    return code;
}
