//! Reads the paths that a Rust source names: a small reader of tokens, blind to comments, literals and test code. Knows
//! just enough of the language for `use` trees, paths in code, and `#[cfg(test)]`.

/// A path and the line on which it begins; paths into this crate begin with `crate`.
#[derive(Debug)]
pub struct Used {
    pub line: usize,
    pub path: Vec<String>,
}

/// What was read of one file.
pub struct Source {
    pub used: Vec<Used>,
    /// Names of `mod name;` behind `#[cfg(test)]`.
    pub test_modules: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

/// Reads a file of the module `module` (`["shard", "auth"]`; `["main"]` and `["lib"]` are the roots).
pub fn read(source: &str, module: &[&str]) -> Source {
    let mut test_modules = Vec::new();
    let tokens = without_test_code(tokens(source), &mut test_modules);
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        used: Vec::new(),
    };
    reader.read();
    let module: &[&str] = if matches!(module, ["lib" | "main"]) {
        &[]
    } else {
        module
    };
    let used = reader
        .used
        .into_iter()
        .filter_map(|used| resolve(used, module))
        .collect();
    Source { used, test_modules }
}

/// Turns `self::`, `super::` and `longwire::` into `crate::`.
fn resolve(Used { line, path }: Used, module: &[&str]) -> Option<Used> {
    let mut inside: Vec<String> = module.iter().map(|&part| part.to_owned()).collect();
    let mut rest = path.as_slice();
    match rest[0].as_str() {
        "crate" | "longwire" => {
            inside.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                inside.pop();
                rest = &rest[1..];
            }
        }
        _ => return Some(Used { line, path }),
    }
    inside.extend(rest.iter().cloned());
    inside.insert(0, "crate".to_owned());
    (inside.len() > 1).then_some(Used { line, path: inside })
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    used: Vec<Used>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn read(&mut self) {
        let mut in_use = false;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Word(word) if word == "use" => {
                    in_use = true;
                    self.at += 1;
                }
                Token::Word(_) => {
                    let after_dot = self.at > 0 && self.tokens[self.at - 1].1 == Token::Mark('.');
                    let start = self.used.len();
                    self.path(&[]);
                    // A lone word is a path only in `use word;`; after a dot it is a field or a method.
                    let lone = self.used[start..].iter().all(|used| used.path.len() == 1);
                    if (lone && !in_use) || after_dot {
                        self.used.truncate(start);
                    }
                    in_use = false;
                }
                Token::Mark(_) => {
                    in_use = false;
                    self.at += 1;
                }
                // The leading `::` of a path from outside.
                Token::Colons => self.at += 1,
            }
        }
    }

    /// Reads one path, with the tree behind it if it ends in `{…}`.
    fn path(&mut self, before: &[String]) {
        let line = self.tokens[self.at].0;
        let mut path = before.to_vec();
        loop {
            match self.peek(0) {
                Some(Token::Word(word)) => {
                    // `{self, …}` names the path itself.
                    if word != "self" || path.is_empty() {
                        path.push(word.clone());
                    }
                    self.at += 1;
                }
                Some(Token::Mark('{')) => {
                    self.at += 1;
                    self.tree(&path);
                    return;
                }
                _ => break,
            }
            let goes_on = matches!(self.peek(1), Some(Token::Word(_) | Token::Mark('{')));
            if self.peek(0) != Some(&Token::Colons) || !goes_on {
                break;
            }
            self.at += 1;
        }
        if !path.is_empty() {
            self.used.push(Used { line, path });
        }
    }

    /// Reads `a, b::c, d as e}`.
    fn tree(&mut self, before: &[String]) {
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('}') => {
                    self.at += 1;
                    return;
                }
                Token::Word(word) if word == "as" => self.at += 2,
                Token::Word(_) => self.path(before),
                Token::Mark('*') => {
                    self.used.push(Used {
                        line: self.tokens[self.at].0,
                        path: before.to_vec(),
                    });
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Takes out every item behind `#[cfg(test)]`, and notes the modules among them that are files of their own.
fn without_test_code(tokens: Vec<(usize, Token)>, test_modules: &mut Vec<String>) -> Vec<(usize, Token)> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    let is = |at: usize, mark: char| tokens.get(at).is_some_and(|(_, token)| *token == Token::Mark(mark));
    while at < tokens.len() {
        if !(is(at, '#') && is(at + 1, '[')) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = closing(&tokens, at + 1);
        let words: Vec<&str> = tokens[at..end].iter().filter_map(|(_, token)| word(token)).collect();
        if !(words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not")) {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
            continue;
        }
        at = end;
        while is(at, '#') && is(at + 1, '[') {
            at = closing(&tokens, at + 1);
        }
        let item = at;
        while at < tokens.len() && !is(at, ';') && !is(at, '{') {
            at = if is(at, '(') || is(at, '[') {
                closing(&tokens, at)
            } else {
                at + 1
            };
        }
        // A `use` tree's braces are followed by its semicolon.
        let is_use = tokens[item..at].iter().any(|(_, token)| word(token) == Some("use"));
        if is(at, '{') {
            at = closing(&tokens, at);
            at += usize::from(is_use);
        } else {
            let words: Vec<&str> = tokens[item..at].iter().filter_map(|(_, token)| word(token)).collect();
            if let Some(["mod", name]) = words.last_chunk::<2>() {
                test_modules.push((*name).to_owned());
            }
            at += 1;
        }
    }
    kept
}

fn word(token: &Token) -> Option<&str> {
    if let Token::Word(word) = token {
        Some(word)
    } else {
        None
    }
}

/// The place behind the bracket that closes the one at `at`.
fn closing(tokens: &[(usize, Token)], at: usize) -> usize {
    let mut depth = 0;
    for (offset, (_, token)) in tokens[at..].iter().enumerate() {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    tokens.len()
}

/// Splits a source into words and marks with their lines, without comments, literals and lifetimes.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = source.chars().collect();
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < text.len() {
        let next = |offset: usize| text.get(at + offset).copied().unwrap_or('\0');
        let start = at;
        match text[at] {
            '/' if next(1) == '/' => at = find(&text, at, |c| c == '\n'),
            '/' if next(1) == '*' => at = after_block_comment(&text, at),
            '"' => at = after_string(&text, at + 1),
            // A lifetime is a quote with a word behind it and no closing quote.
            '\'' if is_word(next(1)) && next(2) != '\'' => at = find(&text, at + 1, |c| !is_word(c)),
            '\'' => {
                at = if next(1) == '\\' {
                    find(&text, at + 3, |c| c == '\'') + 1
                } else {
                    at + 3
                }
            }
            c if c.is_ascii_digit() => at = find(&text, at, |c| !is_word(c)),
            c if is_word(c) => {
                at = find(&text, at, |c| !is_word(c));
                let word: String = text[start..at].iter().collect();
                let prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
                match text.get(at) {
                    Some('"' | '#') if prefix && word.contains('r') && raw_string(&text, at) => {
                        at = after_raw_string(&text, at);
                    }
                    Some('"') if prefix => at = after_string(&text, at + 1),
                    // A raw identifier: its word comes next.
                    Some('#') if word == "r" => at += 1,
                    Some('\'') if word == "b" => {}
                    _ => found.push((line, Token::Word(word))),
                }
            }
            ':' if next(1) == ':' => {
                found.push((line, Token::Colons));
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    found.push((line, Token::Mark(c)));
                }
                at += 1;
            }
        }
        at = at.min(text.len());
        line += text[start..at].iter().filter(|&&c| c == '\n').count();
    }
    found
}

fn find(text: &[char], from: usize, is_it: impl Fn(char) -> bool) -> usize {
    (from..text.len()).find(|&at| is_it(text[at])).unwrap_or(text.len())
}

fn after_string(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(text: &[char], at: usize) -> bool {
    text.get(find(text, at, |c| c != '#')) == Some(&'"')
}

fn after_raw_string(text: &[char], at: usize) -> usize {
    let quote = find(text, at, |c| c != '#');
    let hashes = quote - at;
    let mut end = quote + 1;
    while end < text.len() && !(text[end] == '"' && text[end + 1..].iter().take_while(|&&c| c == '#').count() >= hashes)
    {
        end += 1;
    }
    end + 1 + hashes
}

fn after_block_comment(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}
