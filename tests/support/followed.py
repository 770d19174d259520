"""What a node tells those who follow it by SYNC, beside what Redis 7.0 tells."""


def in_words_of_7_0(stream):
    """XREADGROUP tells how many entries its group has read, too, as Redis does since 7.2: without that, a stream
    of commands, each a list of words."""
    group, left_out = [], 0
    for words in stream:
        before = group[-1] if group else words
        setid = [word.upper() for word in words[:2]] == [b"XGROUP", b"SETID"]
        if setid and before[0].upper() == b"XCLAIM" and before[1:3] == words[2:4]:
            left_out += 1
            continue
        if not group and words[0].upper() != b"MULTI":
            yield words
            continue
        group.append(words)
        if words[0].upper() == b"EXEC":
            yield from group[1:-1] if len(group) == 3 and left_out else group
            group, left_out = [], 0
