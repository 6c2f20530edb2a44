//! Judgements become a classic BPF program.
//!
//! For: the filters, of the sandbox and of its worker. In: a judgement for each number that has one, and one for all others. Out: a program that finds the
//! number by halving, and then asks for arguments. What passes whatever the arguments are, the kernel notes when the program
//! is installed, and does not run it for. Never: an instruction that the kernel could not note so (it knows loads, comparisons
//! and verdicts).

use libc::sock_filter;

/// Offsets in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// A half of an argument: the low one of argument n is number 2n, the high one comes after it. Both processors are little-endian.
const fn half(number: u32) -> u32 {
    16 + 4 * number
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judge {
    /// A `SECCOMP_RET_*`.
    Give(u32),
    /// It depends on an argument.
    Ask { half: u32, bits: u32, about: About, then: Box<Judge>, otherwise: Box<Judge> },
}

/// What is asked about a half of an argument, or the bits of it that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    OneOf(Vec<u32>),
    AnyBit(u32),
}

pub(crate) const ALLOW: Judge = Judge::Give(libc::SECCOMP_RET_ALLOW);

/// The call is not made; its caller is told this.
pub(crate) const fn refuse(errno: i32) -> Judge {
    Judge::Give(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

impl Judge {
    pub fn one_of(argument: u32, values: &[u32], then: Self, otherwise: Self) -> Self {
        Self::ask(argument, About::OneOf(values.to_vec()), then, otherwise)
    }

    pub fn any_bit(argument: u32, bits: u32, then: Self, otherwise: Self) -> Self {
        Self::ask(argument, About::AnyBit(bits), then, otherwise)
    }

    fn ask(argument: u32, about: About, then: Self, otherwise: Self) -> Self {
        Self::Ask { half: 2 * argument, bits: u32::MAX, about, then: Box::new(then), otherwise: Box::new(otherwise) }
    }

    /// It is the argument's high half that is asked about.
    pub fn of_high_half(mut self) -> Self {
        if let Self::Ask { half, .. } = &mut self {
            *half += 1;
        }
        self
    }

    /// Only these bits of the argument count.
    pub fn of_bits(mut self, only: u32) -> Self {
        if let Self::Ask { bits, .. } = &mut self {
            *bits = only;
        }
        self
    }

    fn code(&self) -> Vec<sock_filter> {
        let Self::Ask { half: of, bits, about, then, otherwise } = self else {
            return self.verdict().into_iter().collect();
        };
        let mut code = otherwise.code();
        let mut to_then = code.len();
        code.extend(then.code());
        let (comparison, values) = match about {
            About::OneOf(values) => (libc::BPF_JEQ, values.as_slice()),
            About::AnyBit(bits) => (libc::BPF_JSET, std::slice::from_ref(bits)),
        };
        for value in values.iter().rev() {
            let branch = leap_if(comparison, *value, to_then);
            to_then += branch.len();
            code.splice(0..0, branch);
        }
        if *bits != u32::MAX {
            code.insert(0, instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, *bits));
        }
        code.insert(0, load(half(*of)));
        code
    }

    fn verdict(&self) -> Option<sock_filter> {
        match self {
            Self::Give(verdict) => Some(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, *verdict)),
            Self::Ask { .. } => None,
        }
    }
}

/// `judged` has each number once, in order. Calls by another processor's numbers get `other`, too.
pub(crate) fn assemble(architecture: u32, judged: &[(u32, Judge)], other: &Judge) -> Vec<sock_filter> {
    // From each number on until the next: `other` fills the gaps, and all that lies behind the last.
    let mut spans: Vec<(u32, &Judge)> = vec![(0, other)];
    let mut next = 0;
    for (number, judge) in judged {
        if *number > next {
            spans.push((next, other));
        }
        spans.push((*number, judge));
        next = number + 1;
    }
    spans.push((next, other));
    spans.dedup_by(|later, earlier| {
        let same_place = later.0 == earlier.0;
        if same_place {
            earlier.1 = later.1;
        }
        same_place || later.1 == earlier.1
    });
    let refused = other.code();
    let mut program = vec![load(ARCHITECTURE)];
    program.extend(leap_if(libc::BPF_JEQ, architecture, refused.len()));
    program.extend(refused);
    program.push(load(NUMBER));
    program.extend(halve(&spans));
    program
}

/// The code for the spans, the loaded number being in one of them.
fn halve(spans: &[(u32, &Judge)]) -> Vec<sock_filter> {
    if let [(_, judge)] = spans {
        return judge.code();
    }
    let (lower, upper) = spans.split_at(spans.len() / 2);
    let Some((from, _)) = upper.first() else { return Vec::new() };
    let lower = halve(lower);
    let mut code = leap_if(libc::BPF_JGE, *from, lower.len());
    code.extend(lower);
    code.extend(halve(upper));
    code
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Over so many instructions if the loaded word compares so. A comparison itself can leap over 255 only.
fn leap_if(comparison: u32, with: u32, over: usize) -> Vec<sock_filter> {
    let compare = |holds, fails| instruction(libc::BPF_JMP | comparison | libc::BPF_K, holds, fails, with);
    match u8::try_from(over) {
        Ok(near) => vec![compare(near, 0)],
        Err(_) => {
            let far = u32::try_from(over).unwrap_or(u32::MAX);
            vec![compare(0, 1), instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, far)]
        }
    }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}
