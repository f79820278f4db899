#!/bin/sh
# Makes what lies beside it: a tiny folder, keys and certificates for tests alone, and signatures of
# the folder by uqmerge (ours-*.sig) and by the model_signing tool (theirs-*.sig), each checked by
# the other program.
#   make_signatures.sh UQMERGE MODEL_SIGNING
set -eu
uqmerge=$(realpath "$1")
model_signing=$(realpath "$2")
cd "$(dirname "$0")"

rm -rf model keys ./*.sig
mkdir -p model/sub keys
printf 'weights\n' > model/a.b
printf 'one\n' > model/sub/x
printf 'two\n' > model/sub.y
printf 'three\n' > 'model/name with é.txt'
: > model/empty

for curve in 256:prime256v1 384:secp384r1 521:secp521r1; do
    bits=${curve%%:*}
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:"${curve#*:}" \
        -out "keys/p$bits.pem"
    openssl pkey -in "keys/p$bits.pem" -pubout -out "keys/p$bits.pub.pem"
    "$uqmerge" sign model --key "keys/p$bits.pem" --signature "ours-p$bits.sig"
    "$model_signing" sign key model --private_key "keys/p$bits.pem" --signature "theirs-p$bits.sig"
    "$model_signing" verify key model --public_key "keys/p$bits.pub.pem" --signature "ours-p$bits.sig"
    "$uqmerge" verify model --public-key "keys/p$bits.pub.pem" --signature "theirs-p$bits.sig"
done

# root -> intermediate -> leaf; and a leaf that may not sign
ca() { # name, subject, key, issuer's options...
    name=$1 subject=$2
    shift 2
    openssl req -new -key keys/p256.pem -subj "/CN=$subject" -out "keys/$name.csr"
    openssl x509 -req -in "keys/$name.csr" -days 36500 -out "keys/$name.pem" "$@"
    rm "keys/$name.csr"
}
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n' > keys/ca.ext
printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n' > keys/leaf.ext
printf 'basicConstraints=CA:FALSE\nkeyUsage=keyAgreement\n' > keys/other.ext
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out keys/ca-key.pem
openssl req -x509 -key keys/ca-key.pem -subj "/CN=test root" -days 36500 -out keys/root.pem \
    -addext keyUsage=keyCertSign
openssl req -x509 -key keys/p384.pem -subj "/CN=another root" -days 36500 -out keys/stranger.pem
ca leaf 'test signer' -extfile keys/leaf.ext -CA keys/root.pem -CAkey keys/ca-key.pem -CAcreateserial
ca other 'no signer' -extfile keys/other.ext -CA keys/root.pem -CAkey keys/ca-key.pem -CAcreateserial
for name in leaf other; do
    "$model_signing" sign certificate model --private_key keys/p256.pem \
        --signing_certificate "keys/$name.pem" --certificate_chain keys/root.pem \
        --signature "theirs-$name.sig"
done
"$uqmerge" verify model --certificate-chain keys/root.pem --signature theirs-leaf.sig
rm -f keys/*.ext keys/*.srl keys/ca-key.pem keys/leaf.pem keys/other.pem
