# SPDX-License-Identifier: MIT
# Makes a manual page of section 3 from a public header's comments:
#
#     awk -v group=pool -v version=0.1.0 -v title='...' -f tools/man3.awk lib/include/spillway/pool.h
#
# What a function returns, and how long what it gives lives, is also said in sections of their own:
# the sentences that speak of it, with the list of errors that follows them.

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/`/, "", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    return text
}

# Sentences of a paragraph into s[1..n].
function sentences(text, s,    n, at) {
    n = 0
    while ((at = match(text, /[.:;] +[A-Z]/)) > 0 && length(text) > 0) {
        if (substr(text, at, 1) != ".") {
            # A colon or a semicolon does not end one.
            hold = hold substr(text, 1, RLENGTH + at - 2)
            text = substr(text, at + RLENGTH - 1)
            continue
        }
        s[++n] = hold substr(text, 1, at)
        hold = ""
        text = substr(text, at + RLENGTH - 1)
    }
    if (hold text != "")
        s[++n] = hold text
    hold = ""
    return n
}

function is_return(text) {
    return text ~ /^Returns / || text ~ /[,;:] returns / || text ~ / returns? (0|NULL|-E)/
}

function is_lifetime(text) {
    return text ~ /([Vv]alid until|lives? (as|until|for)|[Ss]tatic storage|[Cc]opied|outlives?|[Cc]lose it|[Rr]elease|owner|owns|reference|stays? alive|is freed|[Tt]ake[sn] over)/
}

# A prototype in lines that fit 80 columns.
function folded(proto,    parts, n, i, line, out) {
    n = split(proto, parts, ", ")
    line = parts[1]
    for (i = 2; i <= n; i++) {
        if (length(line) + length(parts[i]) > 68) {
            out = out ".B \"" escaped(line) ",\"\n"
            line = "        " parts[i]
        } else {
            line = line ", " parts[i]
        }
    }
    return out ".B \"" escaped(line) "\"\n"
}

# Adds a paragraph of the comment at hand.
function end_paragraph() {
    if (paragraph != "")
        doc[++docs] = paragraph
    paragraph = ""
}

function doc_line(text) {
    sub(/^ [*] ?/, "", text)
    sub(/^ [*]$/, "", text)
    if (text ~ /^ *$/) {
        end_paragraph()
    } else if (text ~ /^ +/ || (paragraph ~ /^\t/ && text ~ /^ /)) {
        # A list: each line as it is.
        if (paragraph !~ /^\t/)
            end_paragraph()
        paragraph = paragraph "\t" text "\n"
    } else {
        if (paragraph ~ /^\t/)
            end_paragraph()
        paragraph = paragraph (paragraph == "" ? "" : " ") text
    }
}

function begin_doc() {
    docs = 0
    paragraph = ""
}

# One paragraph as text, or as a list.
function put_paragraph(text) {
    if (text ~ /^\t/) {
        gsub(/\t/, "", text)
        sub(/\n$/, "", text)
        return ".PP\n.RS\n.nf\n" escaped(text) "\n.fi\n.RE\n"
    }
    return ".PP\n" escaped(text) "\n"
}

function add_function(proto,    name, i, j, n, s, text, taken, returned) {
    name = proto
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    names = names (names == "" ? "" : ", ") name
    synopsis = synopsis ".PP\n.nf\n" folded(proto) ".fi\n"
    if (docs == 0) {
        same = same (same == "" ? "" : ", ") name
        return
    }
    body = body ".SS " name "()\n"
    returned = ""
    taken = 0
    for (i = 1; i <= docs; i++) {
        if (doc[i] ~ /^\t/) {
            if (taken)
                returned = returned put_paragraph(doc[i])
            else
                body = body put_paragraph(doc[i])
            continue
        }
        n = sentences(doc[i], s)
        text = ""
        taken = 0
        for (j = 1; j <= n; j++) {
            if (is_return(s[j])) {
                returned = returned escaped(s[j]) "\n"
                taken = j == n
                if (s[j] ~ /^Returns /)
                    continue
            } else if (i > 1 && taken_before && j == 1 && s[j] ~ /^(or|and|where)/) {
                returned = returned escaped(s[j]) "\n"
                taken = 1
                continue
            }
            if (is_lifetime(s[j]))
                lifetimes[name] = lifetimes[name] escaped(s[j]) "\n"
            text = text (text == "" ? "" : " ") s[j]
        }
        taken_before = taken
        if (text != "")
            body = body put_paragraph(text)
    }
    taken_before = 0
    if (returned == "" && proto !~ /^void [a-z_]+\(/) {
        # It is all that there is to say of it.
        n = sentences(doc[1], s)
        returned = escaped(s[1]) "\n"
    }
    order[++functions] = name
    returns[name] = returned
}

function add_type(text,    i) {
    if (docs == 0 && text !~ /\{/)
        return
    for (i = 1; i <= docs; i++)
        types = types put_paragraph(doc[i])
    gsub(/SPILLWAY_API /, "", text)
    sub(/\n$/, "", text)
    types = types ".PP\n.nf\n" escaped_lines(text) "\n.fi\n"
}

function escaped_lines(text,    lines, n, i, out) {
    n = split(text, lines, "\n")
    for (i = 1; i <= n; i++)
        out = out (i > 1 ? "\n" : "") escaped(lines[i])
    return out
}

/^\/\*\*/ {
    begin_doc()
    line = $0
    sub(/^\/\*\* ?/, "", line)
    closed = sub(/ *\*\/ *$/, "", line)
    if (line !~ /^ *$/)
        doc_line(line)
    if (!closed)
        in_doc = 1
    else
        end_paragraph()
    next
}
in_doc {
    line = $0
    closed = sub(/ *\*\/ *$/, "", line)
    doc_line(line)
    if (closed) {
        end_paragraph()
        in_doc = 0
    }
    next
}
/^SPILLWAY_API/ { proto = ""; in_proto = 1 }
in_proto {
    proto = proto (proto == "" ? "" : " ") $0
    if (/;/) {
        gsub(/ +/, " ", proto)
        sub(/^SPILLWAY_API /, "", proto)
        sub(/ *__attribute__.*/, ";", proto)
        add_function(proto)
        docs = 0
        in_proto = 0
    }
    next
}
/^typedef|^enum|^struct/ { declared = ""; in_type = 1 }
in_type {
    declared = declared $0 "\n"
    if (/^}.*;/ || (declared !~ /\{/ && /;/)) {
        add_type(declared)
        docs = 0
        in_type = 0
    }
    next
}
/^#define [A-Z_0-9]+ / && docs > 0 { add_type($0); docs = 0 }

END {
    print ".\\\" SPDX-License-Identifier: MIT"
    print ".\\\" Made from <spillway/" group ".h>."
    printf ".TH SPW_%s 3 \"\" \"Spillway %s\" \"Library Functions Manual\"\n", toupper(group), version
    print ".nh\n.SH NAME\n" names " \\- " title
    print ".SH SYNOPSIS\n.nf\n.B #include <spillway/spillway.h>\n.fi"
    printf "%s", synopsis
    print ".PP\nLink with \\fI\\-lspillway\\fP; pkg\\-config knows it as \\fIspillway\\fP."
    print ".SH DESCRIPTION"
    printf "%s", types
    printf "%s", body
    print ".SH RETURN VALUE"
    print "A negative result is an error number of \\fBerrno\\fP(3); where a call fails, nothing has changed, unless it says so."
    for (i = 1; i <= functions; i++)
        if (returns[order[i]] != "")
            printf ".TP\n.BR %s ()\n%s", order[i], returns[order[i]]
    print ".SH LIFETIMES"
    any = 0
    for (i = 1; i <= functions; i++)
        if (lifetimes[order[i]] != "") {
            printf ".TP\n.BR %s ()\n%s", order[i], lifetimes[order[i]]
            any = 1
        }
    if (!any)
        print "Nothing that these return is to be released, unless it says so."
    print ".SH SEE ALSO\n.BR spillway (7)"
}
