//! nginx's configuration as a tree of directives, `include` followed, each with its file and line so that it can be
//! mended. Knows the language (ngx_conf_file.c's rules: words, quotes, blocks, comments) and no directive but `include`.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::root::Root;

/// Deeper includes are a circle.
const INCLUDES_MAX: usize = 16;
/// More files than any configuration has.
const FILES_MAX: usize = 1_000;
/// Deeper blocks are no configuration.
const BLOCKS_MAX: usize = 32;

/// One directive, with what stands in its braces.
#[derive(Debug)]
pub(in super::super) struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    pub block: Vec<Directive>,
    pub place: Place,
}

/// Where something stands: a file of that host, and a line from 1.
#[derive(Clone, Debug)]
pub(in super::super) struct Place {
    pub file: Rc<str>,
    pub line: usize,
}

/// Reads a file and all that it includes. What cannot be read or makes no sense is left out: nginx itself is the judge of
/// it (`nginx -t`).
pub(super) fn read(root: &Root, file: &Path) -> Option<Vec<Directive>> {
    let mut reader = Reader {
        root,
        directory: file.parent().unwrap_or(Path::new("/")).to_owned(),
        files: 0,
    };
    reader.file(file, 0)
}

struct Reader<'a> {
    root: &'a Root,
    /// What relative includes start from.
    directory: PathBuf,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, file: &Path, depth: usize) -> Option<Vec<Directive>> {
        if depth > INCLUDES_MAX || self.files >= FILES_MAX {
            return None;
        }
        self.files += 1;
        let text = self.root.text(file)?;
        let name: Rc<str> = file.display().to_string().into();
        let tokens = tokens(&text);
        let mut at = 0;
        Some(self.block(&tokens, &mut at, &name, depth, 0))
    }

    /// Directives up to the closing brace, or the end.
    fn block(
        &mut self,
        tokens: &[(usize, Token)],
        at: &mut usize,
        file: &Rc<str>,
        depth: usize,
        blocks: usize,
    ) -> Vec<Directive> {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut line = 0;
        while let Some((token_line, token)) = tokens.get(*at) {
            *at += 1;
            match token {
                Token::Word(word) => {
                    if words.is_empty() {
                        line = *token_line;
                    }
                    words.push(word.clone());
                }
                Token::Close => break,
                Token::End | Token::Open => {
                    let block = match token {
                        Token::Open if blocks < BLOCKS_MAX => self.block(tokens, at, file, depth, blocks + 1),
                        _ => Vec::new(),
                    };
                    let mut words = std::mem::take(&mut words).into_iter();
                    let Some(name) = words.next() else { continue };
                    let arguments: Vec<String> = words.collect();
                    if name == "include" {
                        for pattern in &arguments {
                            directives.extend(self.include(pattern, depth));
                        }
                    } else {
                        directives.push(Directive {
                            name,
                            arguments,
                            block,
                            place: Place {
                                file: file.clone(),
                                line,
                            },
                        });
                    }
                }
            }
        }
        directives
    }

    fn include(&mut self, pattern: &str, depth: usize) -> Vec<Directive> {
        let pattern = self.directory.join(pattern);
        let name = pattern
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        if !name.contains(['*', '?']) {
            return self.file(&pattern, depth + 1).unwrap_or_default();
        }
        let directory = pattern.parent().unwrap_or(Path::new("/")).to_owned();
        let mut directives = Vec::new();
        for found in self.root.names(&directory) {
            // As a shell does: a leading dot must be written.
            if matches(name.as_bytes(), found.as_bytes()) && (!found.starts_with('.') || name.starts_with('.')) {
                directives.extend(self.file(&directory.join(found), depth + 1).unwrap_or_default());
            }
        }
        directives
    }
}

/// `*` is anything, `?` one byte. The classic loop that goes back to the last star alone, so that it is never more than
/// the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let token = match letter {
            '\n' => {
                line += 1;
                continue;
            }
            letter if letter.is_whitespace() => continue,
            '#' => {
                while letters.peek().is_some_and(|letter| *letter != '\n') {
                    letters.next();
                }
                continue;
            }
            ';' => Token::End,
            '{' => Token::Open,
            '}' => Token::Close,
            quote @ ('"' | '\'') => {
                let start = line;
                let mut word = String::new();
                while let Some(letter) = letters.next() {
                    match letter {
                        '\\' => word.extend(letters.next()),
                        letter if letter == quote => break,
                        letter => {
                            line += usize::from(letter == '\n');
                            word.push(letter);
                        }
                    }
                }
                tokens.push((start, Token::Word(word)));
                continue;
            }
            first => {
                let mut word = String::from(first);
                while let Some(&letter) = letters.peek() {
                    // `${name}` is a variable, no block.
                    let opens = letter == '{' && !word.ends_with('$');
                    let in_name = word.rfind("${").is_some_and(|at| !word[at..].contains('}'));
                    if letter.is_whitespace() || letter == ';' || opens || (letter == '}' && !in_name) {
                        break;
                    }
                    word.push(letter);
                    letters.next();
                }
                Token::Word(word)
            }
        };
        tokens.push((line, token));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = tokens(text).into_iter();
        tokens
            .map(|(line, token)| match token {
                Token::Word(word) => format!("{line}:{word}"),
                Token::End => ";".into(),
                Token::Open => "{".into(),
                Token::Close => "}".into(),
            })
            .collect()
    }

    #[test]
    fn the_language_is_read_as_nginx_reads_it() {
        assert_eq!(
            words("a b;#c\nd {e 'f g;';}"),
            ["1:a", "1:b", ";", "2:d", "{", "2:e", "2:f g;", ";", "}"]
        );
        assert_eq!(words("a ${b}c{}"), ["1:a", "1:${b}c", "{", "}"]);
        assert_eq!(words("a \"x\ny\" z"), ["1:a", "1:x\ny", "2:z"]);
        assert_eq!(words("'"), ["1:"]);
        assert_eq!(words("a'b\\"), ["1:a'b\\"]);
    }

    #[test]
    fn patterns_are_a_shell_s() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.config", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[a{};\"'\\\\#$\n *]*|.*") {
            let tokens = tokens(&text);
            let root = Root::new("/nowhere".into());
            let mut reader = Reader { root: &root, directory: "/nowhere".into(), files: 0 };
            reader.block(&tokens, &mut 0, &"f".into(), 0, 0);
        }
    }

    #[test]
    fn garbage_is_read_to_its_end() {
        let root = Root::new("/".into());
        let mut reader = Reader {
            root: &root,
            directory: "/nowhere".into(),
            files: 0,
        };
        for text in [
            "}}}}",
            "{{{{",
            ";;;",
            "a {",
            "include;",
            "include /nowhere/*;",
            "\u{0}\u{1}",
            "a \\",
        ] {
            let tokens = tokens(text);
            let mut at = 0;
            while at < tokens.len() {
                reader.block(&tokens, &mut at, &"f".into(), 0, 0);
            }
        }
        let deep = "a {".repeat(10_000);
        reader.block(&tokens(&deep), &mut 0, &"f".into(), 0, 0);
    }
}
