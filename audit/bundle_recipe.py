"""`VERIFY.md` of a bundle: how a person checks one record with openssl, sha256sum and a shell alone.

Rules upheld here: the recipe takes key and log from the person, as what stands in the bundle proves nothing by itself;
it is plain POSIX shell. A test runs it as it stands.

Not here: the checks that only `jurat audit verify` makes.
"""

from __future__ import annotations

from typing import Final


def recipe(name: str, *, proved: bool) -> str:
    """The text of `VERIFY.md`.

    Args:
        name: of the record that it begins with, without folder and endings.
        proved: whether that one has a proof.
    """
    return _HEAD + _SIGNATURE.replace("NAME", name) + (_INCLUSION if proved else _WITHOUT) + _TAIL


_HEAD: Final = """\
# How to check this bundle

Everything here was put together by somebody, and you need not trust them. Three things have to reach you by another
way than this file: the trusted keys (`trust.json`) or the root statement, the witness policy, and for the recipe below
the agent's public key. The copies in this bundle are for reading; whoever can make up records can make up those, too.

With jurat, no network and no Kafka; the second way where keys have credentials under a root:

```
jurat audit verify BUNDLE.zip --trust YOUR-trust.json --witness-policy YOUR-witness-policy.txt
jurat audit verify BUNDLE.zip --trust-root YOUR-root.json --witness-policy YOUR-witness-policy.txt
```

Without it, one record at a time: unpack the bundle into an empty folder, put the three blocks below into one file, and
run it there with `sh -eu FILE`: it stops at the first thing that does not hold. It needs openssl 3 or later and
sha256sum. This text came with the bundle: `jurat audit verify` says if it is not the one that jurat writes.

"""

_SIGNATURE: Final = """\
## 1. The agent signed the record

Compare the file that `key` names with the public key that you were given, or put yours in its place. Where keys have
credentials it is the key of a session, which nobody gave you: that it leads to the root is what jurat checks.

```sh
record=decisions/NAME
field() { sed "s/.*\\"$1\\":\\"\\([^\\"]*\\)\\".*/\\1/" "$record.dsse.json"; }
key=keys/$(field keyid | sed 's/^did:key://').pem
type=$(field payloadType)
field payload | openssl base64 -d -A > payload.json
field sig | openssl base64 -d -A > signature.bin
printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(($(wc -c < payload.json)))" > signed.bin
cat payload.json >> signed.bin
openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in signed.bin -sigfile signature.bin
```

openssl answers `Signature Verified Successfully`, and `payload.json` is what was signed. Take `record` from the folder
`decisions/` for another one.

"""

_INCLUSION: Final = """\
## 2. The record is in the log

The leaf is a hash over who signed what. Hashed with its neighbours, level by level, it must give the root hash of the
checkpoint; the checkpoint is at the end of the proof.

```sh
proof=$record.tlog-proof
digest=$(sha256sum payload.json | cut -d ' ' -f 1)
printf '\\000{"keyid":"%s","payloadSha256":"%s","payloadType":"%s","sig":"%s"}' \\
  "$(field keyid)" "$digest" "$type" "$(field sig)" | openssl dgst -sha256 -binary > node.bin
sed '1,/^$/d' "$proof" > checkpoint.txt
index=$(sed -n '/^index /{s/^index //p;q;}' "$proof")
size=$(sed -n 2p checkpoint.txt)
case $index/$size in
  *[!0-9/]* | */*/* | /* | */ | 0?*/* | */0*) echo "No numbers: the proof is not of its form" >&2; exit 1 ;;
esac
at=$index
last=$((size - 1))
for hash in $(sed -n '/^index /,/^$/p' "$proof" | sed '1d;/^$/,$d'); do
  printf '%s' "$hash" | openssl base64 -d -A > sibling.bin
  if [ $((at & 1)) -eq 1 ] || [ "$at" -eq "$last" ]; then
    { printf '\\001'; cat sibling.bin node.bin; } | openssl dgst -sha256 -binary > parent.bin
    while [ $((at & 1)) -eq 0 ] && [ "$at" -ne 0 ]; do at=$((at >> 1)) last=$((last >> 1)); done
  else
    { printf '\\001'; cat node.bin sibling.bin; } | openssl dgst -sha256 -binary > parent.bin
  fi
  mv parent.bin node.bin
  at=$((at >> 1)) last=$((last >> 1))
done
root=$(openssl base64 -A -in node.bin)
if [ "$index" -ge "$size" ] || [ "$last" -ne 0 ] || [ "$root" != "$(sed -n 3p checkpoint.txt)" ]; then
  echo "NOT in the tree" >&2
  exit 1
fi
echo "Leaf $index of $size is in the tree of $(sed -n 1p checkpoint.txt)"
```

## 3. The log signed the checkpoint

`policy` is the witness policy that you were given; the copy here stands for it.

```sh
policy=witness-policy.txt
origin=$(sed -n 1p checkpoint.txt)
sed '/^$/,$d' checkpoint.txt > text.bin
for vkey in $(sed -n 's/^log[ 	]*//p' "$policy" | cut -d ' ' -f 1); do
  case $vkey in "$origin"+*) ;; *) continue ;; esac
  encoded=${vkey#"$origin"+*+}
  printf '%s' "$encoded" | openssl base64 -d -A > vkey.bin
  # One byte for the kind of key, Ed25519 here, and its 32 bytes.
  if [ $(($(wc -c < vkey.bin))) -eq 33 ]; then
    { printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000'; tail -c 32 vkey.bin; } > log.der
  fi
done
for line in $(sed "1,/^\\$/d" checkpoint.txt | grep -F " $origin " | sed 's/.* //'); do
  printf '%s' "$line" | openssl base64 -d -A > line.bin
  # Four bytes that name the key, and a signature of 64.
  if [ $(($(wc -c < line.bin))) -eq 68 ]; then tail -c 64 line.bin > log.sig; fi
done
openssl pkeyutl -verify -pubin -keyform DER -inkey log.der -rawin -in text.bin -sigfile log.sig
```

The lines below the log's are its witnesses', each with a time; `jurat audit verify` checks those, too.

"""

_WITHOUT: Final = """\
## 2. Whether it is in the log

This bundle holds no proof of that: there was no checkpoint that witnesses saw with its records in it.

"""

_TAIL: Final = """\
## What that does not show

- openssl accepts some keys that it should not (points of small order, under which anything verifies); `jurat audit
  verify` refuses them. It also checks the form of the record, its approvals, and that the agent may sign it.
- That nothing was left out of this bundle. That takes the whole log.
- That the inputs were true, or that a model really said what is recorded.
"""
