//! Where a head or trailer section ends, and whether its lines end as they must.

use crate::edge::malformed::Reason;

/// Progress through one section; resumes where the last packet ended, so that a section sent
/// byte by byte is still scanned once.
#[derive(Debug, Default)]
pub(super) struct BlockScan {
    scanned: usize,
    line_start: usize,
}

impl BlockScan {
    /// End of a head: the first empty line, which must not be the first line.
    ///
    /// # Errors
    /// The first line-structure offence, or a head longer than `max` bytes.
    pub(super) fn find_head_end(
        &mut self,
        block: &[u8],
        max: usize,
    ) -> Result<Option<usize>, Reason> {
        match block.first() {
            Some(b'\r' | b'\n' | b' ' | b'\t') => Err(Reason::LeadingBlank),
            Some(first) if !first.is_ascii_uppercase() => Err(Reason::BadRequestLine),
            _ => self.find_end(block, max, Reason::HeadTooLarge),
        }
    }

    /// End of a trailer section: the first empty line, which may be the first line.
    ///
    /// # Errors
    /// The first line-structure offence, or a section longer than `max` bytes.
    pub(super) fn find_trailer_end(
        &mut self,
        block: &[u8],
        max: usize,
    ) -> Result<Option<usize>, Reason> {
        self.find_end(block, max, Reason::BadTrailer)
    }

    fn find_end(
        &mut self,
        block: &[u8],
        max: usize,
        too_large: Reason,
    ) -> Result<Option<usize>, Reason> {
        let window = block.get(..max).unwrap_or(block);
        while let Some(line_feed) = self.next_line_feed(window) {
            let line = window.get(self.line_start..line_feed).unwrap_or_default();
            self.scanned = line_feed + 1;
            self.line_start = line_feed + 1;
            match line.split_last() {
                Some((b'\r', [])) => return Ok(Some(line_feed + 1)),
                Some((b'\r', [b' ' | b'\t', ..])) => return Err(Reason::ObsFold),
                Some((b'\r', _)) => {}
                _ => return Err(Reason::BareLf),
            }
        }
        self.scanned = window.len();
        if block.len() > max { Err(too_large) } else { Ok(None) }
    }

    fn next_line_feed(&self, window: &[u8]) -> Option<usize> {
        let rest = window.get(self.scanned..)?;
        rest.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at)
    }
}
